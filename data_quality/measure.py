"""All signals of a group of documents, measured together: a column of numbers for each, most of them in compiled loops.

The definitions are those of datatrove 0.10 (pipeline/filters/), so that published thresholds mean what they say;
where datatrove divides by zero (an empty text, no words) a ratio is 0.
"""

from collections.abc import Sequence

import numpy as np

from data_quality.characters import CLASSES
from data_quality.config import SignalsConfig
from data_quality.custom import CustomDocument
from data_quality.line_edits import LineEdits, edit_lines
from data_quality.ngrams import class_counts, distinct_among, word_numbers
from data_quality.optional_signals import Measured, optional_signals
from data_quality.segment import base_language
from data_quality.signal_catalogue import EDITED_SIGNALS, column
from data_quality.text_lines import LINES, SHORT, Lines, line_marks, line_numbers, symbol_counts, text_lines
from data_quality.text_words import Words, count_kept, cut_words, removed_words
from data_quality.vocabulary import Vocabulary
from data_quality.words import language_by_script

Columns = dict[str, np.ndarray]  # a number for each document
Edits = dict[str, list[np.ndarray]]  # by text version: of each document int32[spans, 2]


def text_versions(config: SignalsConfig) -> dict[str, LineEdits]:
    """The line edits of every edited text version that is made, by its name."""
    edits = {name: getattr(config, name) for name in EDITED_SIGNALS}
    return {name: edit for name, edit in edits.items() if edit is not None}


def measure(
    documents: Sequence[CustomDocument], config: SignalsConfig, vocabulary: Vocabulary
) -> tuple[Columns, Edits]:
    """Of some documents all signals by column name, and by text version the spans that its line edits remove.

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
    words = cut_words(lines, languages, vocabulary)
    n_words, length = np.diff(words.offsets), np.diff(lines.offsets)
    numbers = line_numbers(lines.codes, lines.classes, lines.offsets, config.short_line_length, True)
    symbols = symbol_counts(lines.codes, lines.offsets)
    columns = _line_signals(length, numbers, n_words, words.sentences(lines))
    columns |= _gopher_lines(lines, symbols, n_words) | _duplicate_lines(length, numbers)
    columns |= _word_signals(length, words, vocabulary, languages)
    columns |= _character_signals(length, characters, symbols)
    if config.groups or config.custom:
        columns |= _optional_signals(documents, config, words, vocabulary)
    edits: Edits = {}
    for version, line_edits in text_versions(config).items():
        edits[version], found = _edited_signals(lines, version, line_edits, words, vocabulary, config)
        columns |= {column(version, name): values for name, values in found.items()}
    return columns, edits


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, float64; 0 where `whole` is."""
    return np.divide(part, whole, out=np.zeros(len(part), dtype=np.float64), where=whole != 0)


def _edited_signals(
    lines: Lines, version: str, line_edits: LineEdits, words: Words, vocabulary: Vocabulary, config: SignalsConfig
) -> tuple[list[np.ndarray], Columns]:
    """Of each text what the line edits of a version remove, and the signals of what they leave."""
    edited = [edit_lines(lines, at, line_edits) for at in range(len(lines.texts))]
    kept = np.array([count_kept(one, at, lines, words, vocabulary) for at, one in enumerate(edited)]).reshape(-1, 2)
    stays = np.concatenate([one.stays for one in edited])
    offsets = np.concatenate([[0], np.cumsum(stays)])[lines.offsets]
    before, after = np.diff(lines.offsets), np.diff(offsets)
    numbers = line_numbers(lines.codes[stays], lines.classes[stays], offsets, config.short_line_length, False)
    columns = _line_signals(after, numbers, kept[:, 0], kept[:, 1])
    columns |= {name: np.array([one.counts[name] for one in edited]) for name in edited[0].counts}
    columns["removed_ratio"] = _ratio(before - after, before)
    if "removed_word_ratio" in EDITED_SIGNALS[version]:
        shares = [removed_words(one, at, lines, words, vocabulary) for at, one in enumerate(edited)]
        columns["removed_word_ratio"] = np.array(shares)
    return [one.removed for one in edited], columns


def _optional_signals(
    documents: Sequence[CustomDocument], config: SignalsConfig, words: Words, vocabulary: Vocabulary
) -> Columns:
    optional = optional_signals(config.model_dump_json())
    found = [optional.measure(Measured(document, words.of(at), vocabulary)) for at, document in enumerate(documents)]
    return {name: np.array([values[name] for values in found]) for name in found[0]}


def _line_signals(characters: np.ndarray, numbers: np.ndarray, words: np.ndarray, sentences: np.ndarray) -> Columns:
    """`LINE_SIGNALS` of any text version (datatrove fineweb_quality_filter.py)."""
    breaks, nonblank, nonblank_characters, copied, punctuated, short = numbers[:, : SHORT + 1].T
    return {
        "characters": characters,
        "words": words,
        "sentences": sentences,
        "nonblank_lines": nonblank,
        "line_punct_ratio": _ratio(punctuated, nonblank),
        "short_line_ratio": _ratio(short, nonblank),
        "char_dup_ratio": _ratio(copied, characters - breaks),
        "list_ratio": _ratio(breaks, words),
        "mean_line_length": _ratio(nonblank_characters, nonblank),
    }


def _gopher_lines(lines: Lines, symbols: np.ndarray, words: np.ndarray) -> Columns:
    """Symbols and line starts and ends of Gopher quality, of stripped lines (gopher_quality_filter.py)."""
    _, hashes, ellipses, braces = symbols.T
    bullets, ending = line_marks(lines.codes, lines.starts, lines.ends, lines.first).T
    n_lines = np.diff(lines.first)
    return {
        "lines": n_lines,
        "hash_ratio": _ratio(hashes, words),
        "ellipsis_ratio": _ratio(ellipses, words),
        "bullet_line_ratio": _ratio(bullets, n_lines),
        "ellipsis_line_ratio": _ratio(ending, n_lines),
        "curly_bracket": braces,
        "lorem_ipsum": np.array([text.count("lorem ipsum") for text in lines.lowered]),
    }


def _duplicate_lines(characters: np.ndarray, numbers: np.ndarray) -> Columns:
    """Repeated lines and paragraphs of Gopher repetition (gopher_repetition_filter.py)."""
    count, copies, copied, paragraphs, paragraph_copies, paragraphs_copied = numbers[:, LINES:].T
    return {
        "paragraphs": paragraphs,
        "dup_line_frac": _ratio(copies, count),
        "dup_line_char_frac": _ratio(copied, characters),
        "dup_para_frac": _ratio(paragraph_copies, paragraphs),
        "dup_para_char_frac": _ratio(paragraphs_copied, characters),
    }


def _word_signals(characters: np.ndarray, words: Words, vocabulary: Vocabulary, languages: Sequence[str]) -> Columns:
    """Word counts, word lengths and n-gram repetition (gopher_quality_filter.py, gopher_repetition_filter.py)."""
    n_words = np.diff(words.offsets)
    distinct, non_symbol, non_symbol_characters, with_letter, longest, *ngrams = word_numbers(
        words.ids, words.offsets, vocabulary.lengths, vocabulary.hashes, vocabulary.powers, vocabulary.is_symbol,
        vocabulary.has_letter,
    ).T  # fmt: skip
    return {
        "non_symbol_words": non_symbol,
        "unique_word_ratio": _ratio(distinct, n_words),
        "mean_word_length": _ratio(non_symbol_characters, non_symbol),
        "max_word_length": longest,
        "alpha_word_ratio": _ratio(with_letter, n_words),
        "stop_words": _stop_words(words, vocabulary, languages),
        **{f"top_{n}_gram": _ratio(ngrams[n - 2], characters) for n in (2, 3, 4)},
        **{f"dup_{n}_gram": _ratio(ngrams[n - 2], characters) for n in range(5, 11)},
    }


def _stop_words(words: Words, vocabulary: Vocabulary, languages: Sequence[str]) -> np.ndarray:
    """How many different stop words of its language each document has; English ones where there is no list."""
    found = np.zeros(len(languages), dtype=np.int64)
    known = np.array([language if language in vocabulary.stop_words else "en" for language in languages])
    for language in set(known.tolist()):
        stop_words = vocabulary.stop_words[language]
        found += np.where(known == language, distinct_among(words.ids, words.offsets, stop_words), 0)
    return found


def _character_signals(length: np.ndarray, counts: np.ndarray, symbols: np.ndarray) -> Columns:
    """Shares of scripts and character classes; `counts`: characters of each class."""
    letters, digits, upper, white, _, han, kana, hangul, punctuation = counts[:, :9].T
    ink = length - white
    return {
        "bytes": symbols[:, 0],
        "alphabetic_ratio": _ratio(letters, length),
        "digit_ratio": _ratio(digits, length),
        "uppercase_ratio": _ratio(upper, letters),
        "whitespace_ratio": _ratio(white, length),
        "punctuation_ratio": _ratio(punctuation, ink),
        "han_ratio": _ratio(han, ink),
        "kana_ratio": _ratio(kana, ink),
        "hangul_ratio": _ratio(hangul, ink),
    }
