"""Signals: the numbers about a document from which rules judge it, all measured in one pass over shared words.

The definitions are those of datatrove 0.10 (pipeline/filters/), so that published thresholds mean what they say;
where datatrove divides by zero (an empty text, no words) a ratio is 0.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.characters import CLASSES, TERMINAL_PUNCTUATION, class_table, code_points
from data_quality.config import SignalsConfig
from data_quality.line_edits import EditedLines, Span, apply_edits, edit_lines
from data_quality.ngrams import (
    class_counts,
    distinct_among,
    distinct_words,
    duplicate_ngram_characters,
    sentences_by_line,
    top_ngram_characters,
)
from data_quality.segment import WordRule, base_language, word_rule
from data_quality.signal_catalogue import C4_PREFIX, LANGUAGE_SIGNALS, signal_columns
from data_quality.vocabulary import WHITE_SPACE, Vocabulary
from data_quality.words import language_by_script

Values = dict[str, float]

_ROWS = 2000
_GROUP_CHARACTERS = 500_000
_LANGUAGE_COLUMNS = ("script", *LANGUAGE_SIGNALS)
_PARAGRAPH_BREAK = re.compile(r"\n{2,}")


class _Words(NamedTuple):
    """Word arrays of one text: ids of all words, and per line (str.splitlines) word and sentence counts."""

    ids: np.ndarray
    words_by_line: np.ndarray
    sentences_by_line: np.ndarray
    rule: WordRule


def _words_of(documents: Sequence[list[str]], vocabulary: Vocabulary, rule: WordRule) -> Iterator[_Words]:
    """The words of some documents, given as their lines; cut together, since for short ones the calls cost most."""
    tokens, starts = vocabulary.tokens([*chain.from_iterable(documents)], rule)
    vocabulary.describe()
    is_word = tokens != WHITE_SPACE
    ids = tokens[is_word]
    before = np.concatenate([[0], np.cumsum(is_word)])[starts]
    words_by_line = np.diff(before)
    sentences = sentences_by_line(vocabulary.kinds[tokens], starts)
    start = 0
    for lines in documents:
        end = start + len(lines)
        yield _Words(ids[before[start] : before[end]], words_by_line[start:end], sentences[start:end], rule)
        start = end


def text_signals(
    text: str, config: SignalsConfig, vocabulary: Vocabulary, language: str | None = None
) -> tuple[Values, list[Span]]:
    """All signals of one document by column name, and the spans that C4's line edits remove from it.

    `language` (an ISO 639 code, or null: by script) says how words are cut and which stop words count.
    """
    return next(measure([text], [language], config, vocabulary))


def measure(
    texts: Sequence[str], languages: Sequence[str | None], config: SignalsConfig, vocabulary: Vocabulary
) -> Iterator[tuple[Values, list[Span]]]:
    """`text_signals` of some documents; all their words are in memory at once."""
    vocabulary.make_room()
    lines = [[line.strip() for line in text.splitlines()] for text in texts]
    characters = [class_counts(code_points(text), class_table(), CLASSES) for text in texts]
    known = [
        base_language(each) or language_by_script(counts) for each, counts in zip(languages, characters, strict=True)
    ]
    rules = [word_rule(language) for language in known]
    words: dict[int, _Words] = {}
    for rule in set(rules):  # in any order: no value depends on it
        chosen = [at for at in range(len(texts)) if rules[at] == rule]
        words |= zip(chosen, _words_of([lines[at] for at in chosen], vocabulary, rule), strict=True)
    for at, text in enumerate(texts):
        yield _values(text, lines[at], characters[at], known[at], words[at], config, vocabulary)


def _values(
    text: str,
    lines: list[str],
    characters: np.ndarray,
    language: str,
    words: _Words,
    config: SignalsConfig,
    vocabulary: Vocabulary,
) -> tuple[Values, list[Span]]:
    sentences = int(words.sentences_by_line[words.words_by_line > 0].sum())
    values = _line_signals(text, len(words.ids), sentences, config)
    values |= _gopher_lines(text, lines, len(words.ids))
    values |= _duplicate_lines(text)
    values |= _word_signals(len(text), words.ids, vocabulary, language)
    values |= _character_signals(text, characters)
    if config.c4 is None:
        return values, []
    edited = edit_lines(text, config.c4)
    edited_text = apply_edits(text, edited.removed)
    n_words, n_sentences = _count_kept(edited, lines, words, vocabulary)
    c4 = _line_signals(edited_text, n_words, n_sentences, config)
    c4["lorem_ipsum"] = edited.lorem_ipsum
    c4["curly_bracket"] = edited.curly_bracket
    c4["removed_ratio"] = _ratio(len(text) - len(edited_text), len(text))
    return values | {C4_PREFIX + name: value for name, value in c4.items()}, edited.removed


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


def _count_kept(edited: EditedLines, lines: list[str], words: _Words, vocabulary: Vocabulary) -> tuple[int, int]:
    """Words and sentences of the lines that C4 keeps; only a line that lost a citation is cut into words anew."""
    whole = [number for number, line in edited.kept if len(line) == len(lines[number])]
    changed = [line for number, line in edited.kept if len(line) < len(lines[number])]
    n_words = int(words.words_by_line[whole].sum())
    n_sentences = int(words.sentences_by_line[whole].sum())
    if changed:
        (again,) = _words_of([changed], vocabulary, words.rule)
        n_words += len(again.ids)
        n_sentences += int(again.sentences_by_line.sum())
    return n_words, n_sentences


@cache
def _process_vocabulary(plain: bool) -> Vocabulary:
    return Vocabulary(plain)


def _schema(config: SignalsConfig, languages: bool) -> pa.Schema:
    columns = signal_columns(c4=config.c4 is not None)
    span = pa.struct([("start", pa.int32()), ("end", pa.int32())])
    identified = [(name, pa.float64()) for name in LANGUAGE_SIGNALS] if languages else []
    return pa.schema(
        [
            ("id", pa.string()),
            ("language", pa.string()),
            *([("script", pa.string()), *identified] if languages else []),
            *((name, pa.int64() if signal.integer else pa.float64()) for name, signal in columns.items()),
            ("c4_edits", pa.list_(span)),
        ]
    )


def compute_signals(
    in_path: Path,
    out_path: Path,
    config: SignalsConfig,
    progress: Callable[[int], None] = lambda documents: None,
    languages: Path | None = None,
) -> dict[str, int]:
    """Measure every document of a documents shard and write its signals shard, rows in the same order.

    Columns: id, language (for rules of one language), one number per signal (`signal_catalogue.py`), and `c4_edits`,
    the character spans that C4's line edits remove. With `languages`, a language table (`language.identify_shard`) that
    holds all the documents, language, script and `LANGUAGE_SIGNALS` are that table's; without, language is the
    document's own. A null text counts as empty. Returns the counts documents, bytes, words and edited
    (documents that C4's line edits change).
    """
    source = pq.ParquetFile(in_path)
    missing = {"id", "text"} - set(source.schema_arrow.names)
    if missing:
        raise ValueError(f"{in_path}: no column {' and '.join(sorted(missing))}; this is not a documents shard")
    columns = [name for name in ("id", "text", "language") if name in source.schema_arrow.names]
    schema = _schema(config, languages is not None)
    counts = {"documents": 0, "bytes": 0, "words": 0, "edited": 0}
    temporary = out_path.with_suffix(".tmp")
    with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in _with_languages(source.iter_batches(batch_size=_ROWS, columns=columns), in_path, languages):
            table = _batch_signals(batch, schema, config, counts)
            writer.write_table(table)
            progress(len(table))
    os.replace(temporary, out_path)
    return counts


def _with_languages(batches: Iterable[pa.RecordBatch], documents: Path, languages: Path | None) -> Iterator[pa.Table]:
    """The batches as tables; with `languages`, their language columns are taken from that table by document id."""
    known = None if languages is None else pq.read_table(languages, columns=["id", "language", *_LANGUAGE_COLUMNS])
    row = {} if known is None else {id: at for at, id in enumerate(known.column("id").to_pylist())}
    for batch in batches:
        table = pa.Table.from_batches([batch])
        if known is None:
            yield table
            continue
        ids = table.column("id").to_pylist()
        missing = [id for id in ids if id not in row]
        if missing:
            raise ValueError(f"{languages} lacks document {missing[0]} of {documents}: identify its languages again")
        found = known.take([row[id] for id in ids])
        yield pa.table(
            {"id": found["id"], "text": table["text"]} | {n: found[n] for n in ("language", *_LANGUAGE_COLUMNS)}
        )


def _batch_signals(batch: pa.Table, schema: pa.Schema, config: SignalsConfig, counts: dict[str, int]) -> pa.Table:
    vocabulary = _process_vocabulary(config.words == "plain")
    columns: dict[str, list[object]] = {name: [] for name in schema.names}
    copied = [name for name in ("id", "language", *_LANGUAGE_COLUMNS) if name in batch.column_names and name in columns]
    columns |= {name: batch.column(name).to_pylist() for name in copied}
    languages: list[str | None] = batch.column("language").to_pylist() if "language" in copied else [None] * len(batch)
    columns["language"] = list(languages)
    texts = [text or "" for text in batch.column("text").to_pylist()]
    ends = np.cumsum([len(text) for text in texts]) // _GROUP_CHARACTERS  # documents with one value are cut together
    for group in np.split(np.arange(len(texts)), np.flatnonzero(np.diff(ends)) + 1):
        chosen = group.tolist()
        for values, edits in measure([texts[n] for n in chosen], [languages[n] for n in chosen], config, vocabulary):
            for name, value in values.items():
                columns[name].append(value)
            columns["c4_edits"].append([{"start": start, "end": end} for start, end in edits])
            counts["documents"] += 1
            counts["bytes"] += int(values["bytes"])
            counts["words"] += int(values["words"])
            counts["edited"] += bool(edits)
    return pa.table(columns, schema=schema)
