"""Signals: the numbers about a document from which rules judge it, all measured in one pass over shared words.

The definitions are those of datatrove 0.10 (pipeline/filters/), so that published thresholds mean what they say;
where datatrove divides by zero (an empty text, no words) a ratio is 0.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.characters import CLASSES
from data_quality.config import SignalsConfig
from data_quality.custom import CustomDocument
from data_quality.line_edits import LineEdits, edit_lines
from data_quality.ngrams import class_counts, word_numbers
from data_quality.optional_signals import Measured, optional_signals
from data_quality.per_thread import per_thread
from data_quality.ratio import ratio
from data_quality.segment import base_language
from data_quality.shards import read_batches, whole_parquet
from data_quality.signal_catalogue import EDITED_SIGNALS, LANGUAGE_SIGNALS, column, edits_column, signal_columns
from data_quality.sql import connect, parquet
from data_quality.text_lines import LINES, SHORT, Lines, line_numbers, starts_and_ends, text_lines
from data_quality.text_words import TextWords, count_kept, removed_words, words_by_document
from data_quality.vocabulary import Vocabulary
from data_quality.words import language_by_script

Values = dict[str, float]
Edits = dict[str, np.ndarray]  # of a text version int32[spans, 2]

_GROUP_CHARACTERS = 500_000
_LANGUAGE_COLUMNS = ("language", "script", *LANGUAGE_SIGNALS)


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
    lines = text_lines([document.text for document in documents])
    characters = class_counts(lines.classes, lines.offsets, CLASSES)
    languages = [
        base_language(document.language) or language_by_script(counts)
        for document, counts in zip(documents, characters, strict=True)
    ]
    words = words_by_document(lines, languages, vocabulary)
    numbers = line_numbers(lines.codes, lines.classes, lines.offsets, config.short_line_length, True)
    edited = [
        (version, _edited_documents(lines, version, line_edits, words, vocabulary, config.short_line_length))
        for version, line_edits in text_versions(config).items()
    ]
    optional = optional_signals(config.model_dump_json()) if config.groups or config.custom else None
    for at, document in enumerate(documents):
        text, of_lines, of_words = document.text, numbers[at], words[at]
        n_words = len(of_words.ids)
        sentences = int(of_words.sentences_by_line[of_words.words_by_line > 0].sum())
        values = _line_signals(len(text), of_lines, n_words, sentences)
        values |= _gopher_lines(lines, at, n_words) | _duplicate_lines(len(text), of_lines)
        values |= _word_signals(len(text), of_words.ids, vocabulary, languages[at])
        values |= _character_signals(text, characters[at])
        if optional is not None:
            values |= optional.measure(Measured(document, of_words.ids, vocabulary))
        edits: Edits = {}
        for version, of_documents in edited:
            edits[version], found = of_documents[at]
            values |= {column(version, name): value for name, value in found.items()}
        yield values, edits


def _edited_documents(
    lines: Lines,
    version: str,
    line_edits: LineEdits,
    words: list[TextWords],
    vocabulary: Vocabulary,
    short: int,
) -> list[tuple[np.ndarray, Values]]:
    """Of each text what the line edits of a version remove, and the signals of what they leave."""
    edited = [edit_lines(lines, at, line_edits) for at in range(len(words))]
    stays = np.concatenate([one.stays for one in edited])
    offsets = np.concatenate([[0], np.cumsum(stays)])[lines.offsets]
    numbers = line_numbers(lines.codes[stays], lines.classes[stays], offsets, short, False)
    found = []
    for at, one in enumerate(edited):
        n_words, n_sentences = count_kept(one, words[at], vocabulary)
        before, after = len(one.stays), int(offsets[at + 1] - offsets[at])
        values = _line_signals(after, numbers[at], n_words, n_sentences) | one.counts
        values["removed_ratio"] = ratio(before - after, before)
        if "removed_word_ratio" in EDITED_SIGNALS[version]:
            values["removed_word_ratio"] = removed_words(one, words[at], vocabulary)
        found.append((one.removed, values))
    return found


def _line_signals(characters: int, numbers: np.ndarray, words: int, sentences: int) -> Values:
    """`LINE_SIGNALS` of any text version (datatrove fineweb_quality_filter.py)."""
    breaks, nonblank, nonblank_characters, copied, punctuated, short = map(int, numbers[: SHORT + 1])
    return {
        "characters": characters,
        "words": words,
        "sentences": sentences,
        "nonblank_lines": nonblank,
        "line_punct_ratio": ratio(punctuated, nonblank),
        "short_line_ratio": ratio(short, nonblank),
        "char_dup_ratio": ratio(copied, characters - breaks),
        "list_ratio": ratio(breaks, words),
        "mean_line_length": ratio(nonblank_characters, nonblank),
    }


def _gopher_lines(lines: Lines, at: int, words: int) -> Values:
    """Symbols and line starts and ends of Gopher quality, of stripped lines (gopher_quality_filter.py)."""
    text = lines.texts[at]
    first, last = lines.first[at], lines.first[at + 1]
    bullets, ellipses = map(int, starts_and_ends(lines.codes, lines.starts[first:last], lines.ends[first:last]))
    return {
        "lines": int(last - first),
        "hash_ratio": ratio(text.count("#"), words),
        "ellipsis_ratio": ratio(text.count("...") + text.count("…"), words),
        "bullet_line_ratio": ratio(bullets, int(last - first)),
        "ellipsis_line_ratio": ratio(ellipses, int(last - first)),
        "curly_bracket": text.count("{"),
        "lorem_ipsum": lines.lowered[at].count("lorem ipsum"),
    }


def _duplicate_lines(characters: int, numbers: np.ndarray) -> Values:
    """Repeated lines and paragraphs of Gopher repetition (gopher_repetition_filter.py)."""
    count, copies, copied, paragraphs, paragraph_copies, paragraphs_copied = map(int, numbers[LINES:])
    return {
        "paragraphs": paragraphs,
        "dup_line_frac": copies / count,
        "dup_line_char_frac": ratio(copied, characters),
        "dup_para_frac": paragraph_copies / paragraphs,
        "dup_para_char_frac": ratio(paragraphs_copied, characters),
    }


def _word_signals(characters: int, ids: np.ndarray, vocabulary: Vocabulary, language: str) -> Values:
    """Word counts, word lengths and n-gram repetition (gopher_quality_filter.py, gopher_repetition_filter.py)."""
    stop_words = vocabulary.stop_words.get(language, vocabulary.stop_words["en"])
    distinct, non_symbol, non_symbol_characters, with_letter, longest, stopped, *ngrams = word_numbers(
        ids, vocabulary.lengths, vocabulary.hashes, vocabulary.powers, vocabulary.is_symbol, vocabulary.has_letter,
        stop_words,
    ).tolist()  # fmt: skip
    return {
        "non_symbol_words": non_symbol,
        "unique_word_ratio": ratio(distinct, len(ids)),
        "mean_word_length": ratio(non_symbol_characters, non_symbol),
        "max_word_length": longest,
        "alpha_word_ratio": ratio(with_letter, len(ids)),
        "stop_words": stopped,
        **{f"top_{n}_gram": ratio(ngrams[n - 2], characters) for n in (2, 3, 4)},
        **{f"dup_{n}_gram": ratio(ngrams[n - 2], characters) for n in range(5, 11)},
    }


def _character_signals(text: str, counts: np.ndarray) -> Values:
    """Shares of scripts and character classes; `counts`: characters of each class."""
    letters, digits, upper, white, _, han, kana, hangul, punctuation = map(int, counts[:9])
    ink = len(text) - white
    return {
        "bytes": len(text.encode("utf-8")),
        "alphabetic_ratio": ratio(letters, len(text)),
        "digit_ratio": ratio(digits, len(text)),
        "uppercase_ratio": ratio(upper, letters),
        "whitespace_ratio": ratio(white, len(text)),
        "punctuation_ratio": ratio(punctuation, ink),
        "han_ratio": ratio(han, ink),
        "kana_ratio": ratio(kana, ink),
        "hangul_ratio": ratio(hangul, ink),
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
    optional = ["language", "source", *(["metadata"] if config.groups or config.custom else [])]
    batches = read_batches(in_path, ["id", "text"], optional)
    schema = _schema(config, bool(languages))
    counts = {"documents": 0, "bytes": 0, "words": 0, "edited": 0}
    with whole_parquet(out_path, schema) as writer:
        for batch in _with_languages(batches, in_path, languages):
            table = _batch_signals(batch, schema, config, counts)
            writer.write_table(table)
            progress(len(table))
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
    documents = [
        CustomDocument(
            row["id"], row["text"] or "", row.get("language"), row.get("source"), row.get("metadata") or "{}", plain
        )
        for row in batch.to_pylist()
    ]
    values: dict[str, list[float]] = {name: [] for name in schema.names}
    edits: dict[str, list[np.ndarray]] = {edits_column(version): [] for version in text_versions(config)}
    ends = np.cumsum([len(document.text) for document in documents]) // _GROUP_CHARACTERS
    for group in np.split(np.arange(len(documents)), np.flatnonzero(np.diff(ends)) + 1):  # each is cut in one call
        for found, removed in measure([documents[at] for at in group], config, vocabulary):
            for name, value in found.items():
                values[name].append(value)
            for version, spans in removed.items():
                edits[edits_column(version)].append(spans)
            counts["documents"] += 1
            counts["bytes"] += int(found["bytes"])
            counts["words"] += int(found["words"])
            counts["edited"] += any(map(len, removed.values()))
    columns: list[pa.Array | pa.ChunkedArray] = []
    for field in schema:
        if field.name in edits:
            columns.append(_spans_array(edits[field.name], field.type))
        elif field.name in ("id", "source", *_LANGUAGE_COLUMNS):
            known = field.name in batch.column_names
            columns.append(batch[field.name] if known else pa.nulls(len(batch), field.type))
        else:
            columns.append(pa.array(values[field.name], field.type))
    return pa.table(columns, schema=schema)


def _spans_array(spans: list[np.ndarray], type: pa.DataType) -> pa.Array:
    """Spans of each document, int32[spans, 2], as a column of lists of start and end."""
    flat = np.concatenate(spans) if spans else np.empty((0, 2), dtype=np.int32)
    offsets = np.cumsum([0, *map(len, spans)], dtype=np.int32)
    pairs = pa.StructArray.from_arrays([pa.array(flat[:, 0]), pa.array(flat[:, 1])], fields=list(type.value_type))
    return pa.ListArray.from_arrays(pa.array(offsets), pairs, type=type)
