"""Signals: the numbers about a document from which rules judge it, all measured in one pass over shared words.

The definitions are those of datatrove 0.10 (pipeline/filters/), so that published thresholds mean what they say;
where datatrove divides by zero (an empty text, no words) a ratio is 0.
"""

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.characters import CLASSES, TERMINAL_PUNCTUATION, class_table, code_points
from data_quality.config import SignalsConfig
from data_quality.custom import CustomDocument
from data_quality.line_edits import EditedLines, LineEdits, Span, apply_edits, edit_lines
from data_quality.ngrams import (
    class_counts,
    distinct_words,
    duplicate_ngram_characters,
    sentences_by_line,
    top_ngram_characters,
)
from data_quality.optional_signals import Measured, optional_signals
from data_quality.signal_catalogue import EDITED_SIGNALS, column, edits_column, signal_columns
from data_quality.vocabulary import WHITE_SPACE, Vocabulary

Values = dict[str, float]

_ROWS = 2000
_COPIED = ("id", "text", "language", "source")
_PARAGRAPH_BREAK = re.compile(r"\n{2,}")


class _Words:
    """Word arrays of one text: ids of all words, and per line (str.splitlines) word and sentence counts."""

    def __init__(self, lines: list[str], vocabulary: Vocabulary) -> None:
        tokens, starts = vocabulary.tokens(lines)
        vocabulary.describe()
        is_word = tokens != WHITE_SPACE
        words_before = np.concatenate([[0], np.cumsum(is_word)])
        self._tokens, self._starts = tokens, starts
        self.ids = tokens[is_word]
        self.words_by_line = np.diff(words_before[starts])
        self.sentences_by_line = sentences_by_line(vocabulary.kinds[tokens], starts)

    def plain_by_line(self, vocabulary: Vocabulary) -> np.ndarray:
        """Words per line that are not of symbols only: int64[lines]."""
        plain = (self._tokens != WHITE_SPACE) & ~vocabulary.is_symbol[self._tokens]
        return np.diff(np.concatenate([[0], np.cumsum(plain)])[self._starts])


def text_versions(config: SignalsConfig) -> dict[str, LineEdits]:
    """The line edits of every edited text version that is made, by its name."""
    edits = {name: getattr(config, name) for name in EDITED_SIGNALS}
    return {name: edit for name, edit in edits.items() if edit is not None}


def text_signals(
    text: str, config: SignalsConfig, vocabulary: Vocabulary, document: CustomDocument | None = None
) -> tuple[Values, dict[str, list[Span]]]:
    """All signals of one document by column name, and by text version the spans that its line edits remove.

    `document` says what else is known of the document, for the optional signals that ask for it.
    """
    vocabulary.make_room()
    lines = [line.strip() for line in text.splitlines()]
    words = _Words(lines, vocabulary)
    sentences = int(words.sentences_by_line[words.words_by_line > 0].sum())
    values = _line_signals(text, len(words.ids), sentences, config)
    values |= _gopher_lines(text, lines, len(words.ids))
    values |= _duplicate_lines(text)
    values |= _word_signals(len(text), words.ids, vocabulary)
    values |= _character_signals(text)
    if config.groups or config.custom:
        measured = Measured(document or CustomDocument("", text), words.ids, vocabulary)
        values |= optional_signals(config.model_dump_json()).measure(measured)
    removed: dict[str, list[Span]] = {}
    for version, edits in text_versions(config).items():
        edited = edit_lines(text, edits)
        removed[version] = edited.removed
        found = _edited_signals(text, edited, words, vocabulary, config)
        if "removed_word_ratio" in EDITED_SIGNALS[version]:
            found["removed_word_ratio"] = _removed_words(edited, words, vocabulary)
        values |= {column(version, name): value for name, value in found.items()}
    return values, removed


def _edited_signals(
    text: str, edited: EditedLines, words: _Words, vocabulary: Vocabulary, config: SignalsConfig
) -> Values:
    edited_text = apply_edits(text, edited.removed)
    n_words, n_sentences = _count_kept(edited, words, vocabulary)
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


def _word_signals(characters: int, ids: np.ndarray, vocabulary: Vocabulary) -> Values:
    """Word counts, word lengths and n-gram repetition (gopher_quality_filter.py, gopher_repetition_filter.py)."""
    lengths = vocabulary.lengths[ids]
    symbol = vocabulary.is_symbol[ids]
    non_symbol = len(ids) - int(symbol.sum())
    top = top_ngram_characters(ids, lengths)
    duplicate = duplicate_ngram_characters(vocabulary.hashes[ids], vocabulary.powers[ids], lengths)
    return {
        "non_symbol_words": non_symbol,
        "unique_word_ratio": _ratio(distinct_words(ids), len(ids)),
        "mean_word_length": _ratio(int(lengths.sum() - lengths[symbol].sum()), non_symbol),
        "max_word_length": int(lengths.max(initial=0)),
        "alpha_word_ratio": _ratio(int(vocabulary.has_letter[ids].sum()), len(ids)),
        "stop_words": sum(bool((ids == stop_word).any()) for stop_word in vocabulary.stop_words),
        **{f"top_{n}_gram": _ratio(int(top[n - 2]), characters) for n in (2, 3, 4)},
        **{f"dup_{n}_gram": _ratio(int(duplicate[n - 5]), characters) for n in range(5, 11)},
    }


def _character_signals(text: str) -> Values:
    """Shares of scripts and character classes."""
    counts = class_counts(code_points(text), class_table(), CLASSES)
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


def _count_kept(edited: EditedLines, words: _Words, vocabulary: Vocabulary) -> tuple[int, int]:
    """Words and sentences of the lines that stay; only a line out of which something was cut is split anew."""
    whole = [number for number, left in edited.kept if left is None]
    changed = [left for _, left in edited.kept if left is not None]
    by_line = words.words_by_line[whole]
    n_words = int(by_line.sum())
    n_sentences = int(words.sentences_by_line[whole][by_line > 0].sum())
    if changed:
        again = _Words(changed, vocabulary)
        n_words += len(again.ids)
        n_sentences += int(again.sentences_by_line.sum())
    return n_words, n_sentences


def _removed_words(edited: EditedLines, words: _Words, vocabulary: Vocabulary) -> float:
    """Share of the words, those of symbols only left out, that stand in what the line edits remove."""
    by_line = words.plain_by_line(vocabulary)
    whole = [number for number, left in edited.kept if left is None]
    total, kept = int(by_line.sum()), int(by_line[whole].sum())
    changed = [left for _, left in edited.kept if left is not None]
    if changed:
        kept += int(_Words(changed, vocabulary).plain_by_line(vocabulary).sum())
    return _ratio(max(total - kept, 0), total)


@cache
def _process_vocabulary() -> Vocabulary:
    return Vocabulary()


def _schema(config: SignalsConfig) -> pa.Schema:
    texts = text_versions(config)
    span = pa.struct([("start", pa.int32()), ("end", pa.int32())])
    signals = signal_columns(texts, config.groups)
    return pa.schema(
        [
            ("id", pa.string()),
            ("language", pa.string()),
            ("source", pa.string()),
            *((name, pa.int64() if signal.integer else pa.float64()) for name, signal in signals.items()),
            *((signal.name, pa.float64()) for signal in config.custom),
            *((edits_column(text), pa.list_(span)) for text in texts),
        ]
    )


def compute_signals(
    in_path: Path, out_path: Path, config: SignalsConfig, progress: Callable[[int], None] = lambda documents: None
) -> dict[str, int]:
    """Measure every document of a documents shard and write its signals shard, rows in the same order.

    Columns: id, language and source (copied, for rules of one language and for lists), one number per signal
    (`signal_catalogue.py`), and for each edited text version, as `c4_edits`, the character spans that its line edits
    remove. A null text counts as empty. Returns the counts documents, bytes, words and edited (documents that line
    edits change).

    Args:
        config: as `signal_choice.resolve_signals` returns it where rules are to name optional signals.

    Raises:
        CustomSignalError: a function of the user's own failed; the message names the document.
    """
    source = pq.ParquetFile(in_path)
    missing = {"id", "text"} - set(source.schema_arrow.names)
    if missing:
        raise ValueError(f"{in_path}: no column {' and '.join(sorted(missing))}; this is not a documents shard")
    wanted = ("id", "text", "language", "source", "metadata") if config.groups or config.custom else _COPIED
    columns = [name for name in wanted if name in source.schema_arrow.names]
    schema = _schema(config)
    counts = {"documents": 0, "bytes": 0, "words": 0, "edited": 0}
    temporary = out_path.with_suffix(".tmp")
    with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in source.iter_batches(batch_size=_ROWS, columns=columns):
            table = _batch_signals(batch, schema, config, counts)
            writer.write_table(table)
            progress(len(table))
    os.replace(temporary, out_path)
    return counts


def _batch_signals(batch: pa.RecordBatch, schema: pa.Schema, config: SignalsConfig, counts: dict[str, int]) -> pa.Table:
    vocabulary = _process_vocabulary()
    columns: dict[str, list[object]] = {name: [] for name in schema.names}
    for row in batch.to_pylist():
        text = row["text"] or ""
        document = CustomDocument(row["id"], text, row.get("language"), row.get("source"), row.get("metadata") or "{}")
        values, edits = text_signals(text, config, vocabulary, document)
        columns["id"].append(document.id)
        columns["language"].append(document.language)
        columns["source"].append(document.source)
        for name, value in values.items():
            columns[name].append(value)
        for version, spans in edits.items():
            columns[edits_column(version)].append([{"start": start, "end": end} for start, end in spans])
        counts["documents"] += 1
        counts["bytes"] += int(values["bytes"])
        counts["words"] += int(values["words"])
        counts["edited"] += any(edits.values())
    return pa.table(columns, schema=schema)
