"""Signals: the numbers about a document from which rules judge it, all measured in one pass over shared words.

The definitions are those of datatrove 0.10 (pipeline/filters/), so that published thresholds mean what they say;
where datatrove divides by zero (an empty text, no words) a ratio is 0.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.characters import CLASSES, TERMINAL_PUNCTUATION, class_table, code_points
from data_quality.config import SignalsConfig
from data_quality.custom import CustomDocument
from data_quality.line_edits import EditedLines, LineEdits, Span, apply_edits, edit_lines
from data_quality.ngrams import (
    class_counts,
    distinct_among,
    distinct_words,
    duplicate_ngram_characters,
    top_ngram_characters,
)
from data_quality.optional_signals import Measured, optional_signals
from data_quality.per_thread import per_thread
from data_quality.segment import base_language
from data_quality.signal_catalogue import EDITED_SIGNALS, LANGUAGE_SIGNALS, column, edits_column, signal_columns
from data_quality.sql import connect, parquet
from data_quality.text_words import TextWords, count_kept, removed_words, words_by_document
from data_quality.vocabulary import Vocabulary
from data_quality.words import language_by_script

Values = dict[str, float]
Edits = dict[str, list[Span]]

_ROWS = 2000
_GROUP_CHARACTERS = 500_000
_LANGUAGE_COLUMNS = ("language", "script", *LANGUAGE_SIGNALS)
_PARAGRAPH_BREAK = re.compile(r"\n{2,}")


def text_versions(config: SignalsConfig) -> dict[str, LineEdits]:
    """The line edits of every edited text version that is made, by its name."""
    edits = {name: getattr(config, name) for name in EDITED_SIGNALS}
    return {name: edit for name, edit in edits.items() if edit is not None}


def text_signals(
    text: str, config: SignalsConfig, vocabulary: Vocabulary, language: str | None = None
) -> tuple[Values, Edits]:
    """`measure` of one text of which nothing else is known but perhaps its language."""
    return next(measure([CustomDocument("", text, language)], config, vocabulary))


def measure(
    documents: Sequence[CustomDocument], config: SignalsConfig, vocabulary: Vocabulary
) -> Iterator[tuple[Values, Edits]]:
    """Of each document all signals by column name, and by text version the spans that its line edits remove.

    A document's language (an ISO 639 code, or null: by script) says how words are cut and which stop words count. All
    words of the documents are in memory at once.
    """
    vocabulary.make_room()
    lines = [[line.strip() for line in document.text.splitlines()] for document in documents]
    characters = [class_counts(code_points(document.text), class_table(), CLASSES) for document in documents]
    languages = [
        base_language(document.language) or language_by_script(counts)
        for document, counts in zip(documents, characters, strict=True)
    ]
    words = words_by_document(lines, languages, vocabulary)
    optional = optional_signals(config.model_dump_json()) if config.groups or config.custom else None
    for at, document in enumerate(documents):
        values = _raw_signals(document.text, lines[at], words[at], config)
        values |= _word_signals(len(document.text), words[at].ids, vocabulary, languages[at])
        values |= _character_signals(document.text, characters[at])
        if optional is not None:
            values |= optional.measure(Measured(document, words[at].ids, vocabulary))
        edits: Edits = {}
        for version, line_edits in text_versions(config).items():
            edited = edit_lines(document.text, line_edits)
            edits[version] = edited.removed
            found = _edited_signals(document.text, edited, words[at], vocabulary, config)
            if "removed_word_ratio" in EDITED_SIGNALS[version]:
                found["removed_word_ratio"] = removed_words(edited, words[at], vocabulary)
            values |= {column(version, name): value for name, value in found.items()}
        yield values, edits


def _raw_signals(text: str, lines: list[str], words: TextWords, config: SignalsConfig) -> Values:
    sentences = int(words.sentences_by_line[words.words_by_line > 0].sum())
    values = _line_signals(text, len(words.ids), sentences, config)
    return values | _gopher_lines(text, lines, len(words.ids)) | _duplicate_lines(text)


def _edited_signals(
    text: str, edited: EditedLines, words: TextWords, vocabulary: Vocabulary, config: SignalsConfig
) -> Values:
    edited_text = apply_edits(text, edited.removed)
    n_words, n_sentences = count_kept(edited, words, vocabulary)
    values = _line_signals(edited_text, n_words, n_sentences, config)
    values |= edited.counts
    values["removed_ratio"] = _ratio(len(text) - len(edited_text), len(text))
    return values


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _repeated(elements: list[str]) -> tuple[int, int]:
    """Number and characters of the second and later copies among `elements`."""
    distinct = set(elements)
    return len(elements) - len(distinct), sum(map(len, elements)) - sum(map(len, distinct))


def _line_signals(text: str, words: int, sentences: int, config: SignalsConfig) -> Values:
    """`LINE_SIGNALS` of any text version (datatrove fineweb_quality_filter.py)."""
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    breaks = text.count("\n")
    return {
        "characters": len(text),
        "words": words,
        "sentences": sentences,
        "nonblank_lines": len(lines),
        "line_punct_ratio": _ratio(sum(line[-1] in TERMINAL_PUNCTUATION for line in lines), len(lines)),
        "short_line_ratio": _ratio(sum(len(line) <= config.short_line_length for line in lines), len(lines)),
        "char_dup_ratio": _ratio(_repeated(lines)[1], len(text) - breaks),
        "list_ratio": _ratio(breaks, words),
        "mean_line_length": _ratio(sum(map(len, lines)), len(lines)),
    }


def _gopher_lines(text: str, lines: list[str], words: int) -> Values:
    """Symbols and line starts and ends of Gopher quality; `lines` are stripped (gopher_quality_filter.py)."""
    ellipses = text.count("...") + text.count("…")
    return {
        "lines": len(lines),
        "hash_ratio": _ratio(text.count("#"), words),
        "ellipsis_ratio": _ratio(ellipses, words),
        "bullet_line_ratio": _ratio(sum(line.startswith(("•", "-")) for line in lines), len(lines)),
        "ellipsis_line_ratio": _ratio(
            sum(line.endswith(("...", "…")) for line in lines) if ellipses else 0, len(lines)
        ),
        "curly_bracket": text.count("{"),
        "lorem_ipsum": text.lower().count("lorem ipsum"),
    }


def _duplicate_lines(text: str) -> Values:
    """Repeated lines and paragraphs of Gopher repetition, as datatrove splits them: at rows of line breaks, so
    that a text which begins and ends with one has two empty lines (gopher_repetition_filter.py)."""
    lines = [line for line in text.split("\n") if line]
    lines += [""] * (text.startswith("\n") + text.endswith("\n") if text else 1)
    paragraphs = _PARAGRAPH_BREAK.split(text.strip())
    line_copies, line_characters = _repeated(lines)
    paragraph_copies, paragraph_characters = _repeated(paragraphs)
    return {
        "paragraphs": len(paragraphs),
        "dup_line_frac": line_copies / len(lines),
        "dup_line_char_frac": _ratio(line_characters, len(text)),
        "dup_para_frac": paragraph_copies / len(paragraphs),
        "dup_para_char_frac": _ratio(paragraph_characters, len(text)),
    }


def _word_signals(characters: int, ids: np.ndarray, vocabulary: Vocabulary, language: str) -> Values:
    """Word counts, word lengths and n-gram repetition (gopher_quality_filter.py, gopher_repetition_filter.py)."""
    lengths = vocabulary.lengths[ids]
    symbol = vocabulary.is_symbol[ids]
    non_symbol = len(ids) - int(symbol.sum())
    top = top_ngram_characters(ids, lengths)
    duplicate = duplicate_ngram_characters(vocabulary.hashes[ids], vocabulary.powers[ids], lengths)
    stop_words = vocabulary.stop_words.get(language, vocabulary.stop_words["en"])
    return {
        "non_symbol_words": non_symbol,
        "unique_word_ratio": _ratio(distinct_words(ids), len(ids)),
        "mean_word_length": _ratio(int(lengths.sum() - lengths[symbol].sum()), non_symbol),
        "max_word_length": int(lengths.max(initial=0)),
        "alpha_word_ratio": _ratio(int(vocabulary.has_letter[ids].sum()), len(ids)),
        "stop_words": distinct_among(ids, stop_words),
        **{f"top_{n}_gram": _ratio(int(top[n - 2]), characters) for n in (2, 3, 4)},
        **{f"dup_{n}_gram": _ratio(int(duplicate[n - 5]), characters) for n in range(5, 11)},
    }


def _character_signals(text: str, counts: np.ndarray) -> Values:
    """Shares of scripts and character classes; `counts`: characters of each class."""
    letters, digits, upper, white, _, han, kana, hangul, punctuation = map(int, counts[:9])
    ink = len(text) - white
    return {
        "bytes": len(text.encode("utf-8")),
        "alphabetic_ratio": _ratio(letters, len(text)),
        "digit_ratio": _ratio(digits, len(text)),
        "uppercase_ratio": _ratio(upper, letters),
        "whitespace_ratio": _ratio(white, len(text)),
        "punctuation_ratio": _ratio(punctuation, ink),
        "han_ratio": _ratio(han, ink),
        "kana_ratio": _ratio(kana, ink),
        "hangul_ratio": _ratio(hangul, ink),
    }


@per_thread
def _vocabulary(plain: bool) -> Vocabulary:
    return Vocabulary(plain)


def _schema(config: SignalsConfig, languages: bool) -> pa.Schema:
    texts = text_versions(config)
    span = pa.struct([("start", pa.int32()), ("end", pa.int32())])
    identified = [("script", pa.string()), *((name, pa.float64()) for name in LANGUAGE_SIGNALS)] if languages else []
    signals = signal_columns(texts, config.groups)
    return pa.schema(
        [
            ("id", pa.string()),
            ("language", pa.string()),
            ("source", pa.string()),
            *identified,
            *((name, pa.int64() if signal.integer else pa.float64()) for name, signal in signals.items()),
            *((signal.name, pa.float64()) for signal in config.custom),
            *((edits_column(text), pa.list_(span)) for text in texts),
        ]
    )


def compute_signals(
    in_path: Path,
    out_path: Path,
    config: SignalsConfig,
    progress: Callable[[int], None] = lambda documents: None,
    languages: Sequence[Path] = (),
) -> dict[str, int]:
    """Measure every document of a documents shard and write its signals shard, rows in the same order.

    Columns: id, language and source (copied, for rules of one language and for lists), one number per signal
    (`signal_catalogue.py`), and for each edited text version, as `c4_edits`, the character spans that its line edits
    remove. With `languages`, language tables (`language.identify_shard`) that hold all the documents, the language is
    theirs, and its script and `LANGUAGE_SIGNALS` stand behind source. A null text counts as empty. Returns the
    counts documents, bytes, words and edited (documents that line edits change).

    Args:
        config: as `signal_choice.resolve_signals` returns it where rules are to name optional signals.

    Raises:
        CustomSignalError: a function of the user's own failed; the message names the document.
        ValueError: the shard lacks id or text, or the language tables a document.
    """
    source = pq.ParquetFile(in_path)
    missing = {"id", "text"} - set(source.schema_arrow.names)
    if missing:
        raise ValueError(f"{in_path}: no column {' and '.join(sorted(missing))}; this is not a documents shard")
    wanted = ["id", "text", "language", "source", *(["metadata"] if config.groups or config.custom else [])]
    columns = [name for name in wanted if name in source.schema_arrow.names]
    schema = _schema(config, bool(languages))
    counts = {"documents": 0, "bytes": 0, "words": 0, "edited": 0}
    temporary = out_path.with_suffix(".tmp")
    with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in _with_languages(source.iter_batches(batch_size=_ROWS, columns=columns), in_path, languages):
            table = _batch_signals(batch, schema, config, counts)
            writer.write_table(table)
            progress(len(table))
    os.replace(temporary, out_path)
    return counts


def _with_languages(
    batches: Iterable[pa.RecordBatch], documents: Path, languages: Sequence[Path]
) -> Iterator[pa.Table]:
    """The batches as tables; with `languages`, their language columns are taken from there by document id."""
    known = _languages_of(documents, languages) if languages else None
    row = {} if known is None else {id: at for at, id in enumerate(known.column("id").to_pylist())}
    for batch in batches:
        table = pa.Table.from_batches([batch])
        if known is not None:
            ids = table.column("id").to_pylist()
            missing = [id for id in ids if id not in row]
            if missing:
                raise ValueError(
                    f"{', '.join(map(str, languages))} lacks document {missing[0]} of {documents}: "
                    "identify its languages again"
                )
            found = known.take([row[id] for id in ids])
            own = {name: table[name] for name in table.column_names}
            table = pa.table(own | {name: found[name] for name in _LANGUAGE_COLUMNS})
        yield table


def _languages_of(documents: Path, tables: Sequence[Path]) -> pa.Table:
    """The language columns of the documents of one shard; of many tables, only their rows are held."""
    columns = ["id", *_LANGUAGE_COLUMNS]
    if len(tables) == 1:
        return pq.read_table(tables[0], columns=columns)
    with TemporaryDirectory() as spill, connect("1GB", 1, Path(spill)) as sql:
        found = sql.sql(
            f"SELECT {', '.join(columns)} FROM {parquet(tables)} l SEMI JOIN {parquet([documents])} USING (id)"
        )
        return found.to_arrow_table()


def _batch_signals(batch: pa.Table, schema: pa.Schema, config: SignalsConfig, counts: dict[str, int]) -> pa.Table:
    plain = config.words == "plain"
    vocabulary = _vocabulary(plain)
    columns: dict[str, list[object]] = {name: [] for name in schema.names}
    for name in ("id", "source", *_LANGUAGE_COLUMNS):
        if name in columns:
            columns[name] = batch[name].to_pylist() if name in batch.column_names else [None] * len(batch)
    documents = [
        CustomDocument(
            row["id"], row["text"] or "", row.get("language"), row.get("source"), row.get("metadata") or "{}", plain
        )
        for row in batch.to_pylist()
    ]
    ends = np.cumsum([len(document.text) for document in documents]) // _GROUP_CHARACTERS
    for group in np.split(np.arange(len(documents)), np.flatnonzero(np.diff(ends)) + 1):  # each is cut in one call
        for values, edits in measure([documents[at] for at in group], config, vocabulary):
            for name, value in values.items():
                columns[name].append(value)
            for version, spans in edits.items():
                columns[edits_column(version)].append([{"start": start, "end": end} for start, end in spans])
            counts["documents"] += 1
            counts["bytes"] += int(values["bytes"])
            counts["words"] += int(values["words"])
            counts["edited"] += any(edits.values())
    return pa.table(columns, schema=schema)
