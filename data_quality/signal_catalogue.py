"""Every signal by name: what it measures, its type and its greatest possible value.

A rule may name any of these, and the user's own (`signals.custom`). A signal of an edited text version is the column
`c4__` + name, with that version's name. Signals of the optional groups, and text versions but c4, are measured only
where a chosen ruleset asks for them (`signal_choice.py`). This module imports nothing heavy, so that rules can be
checked without the libraries that measure.
"""

import difflib
import math
from collections.abc import Collection, Iterable
from typing import NamedTuple

from data_quality.errors import UsageError


class Signal(NamedTuple):
    """One numeric column: `integer` or a float; never null, never negative, at most `upper` (None: unbounded)."""

    meaning: str
    integer: bool = False
    upper: float | None = None


def _ratio(meaning: str) -> Signal:
    return Signal(meaning, upper=1.0)


def _count(meaning: str) -> Signal:
    return Signal(meaning, integer=True)


# Signals of any text version: the raw text and, prefixed, a text that line edits leave.
LINE_SIGNALS: dict[str, Signal] = {
    "characters": _count("Unicode characters"),
    "words": _count("words (data_quality/words.py), punctuation included"),
    "sentences": _count("sentences, counted line by line with spaCy's sentencizer; 0 without a non-blank line"),
    "nonblank_lines": _count("lines, split at \\n, with a character that is no white space"),
    "line_punct_ratio": _ratio("non-blank lines whose last character ends a sentence in some script / all (FineWeb)"),
    "short_line_ratio": _ratio("non-blank lines of at most `short_line_length` characters / all (FineWeb)"),
    "char_dup_ratio": _ratio("characters in 2nd and later copies of non-blank lines / characters but \\n (FineWeb)"),
    "list_ratio": Signal("line breaks / words (FineWeb)"),
    "mean_line_length": Signal("mean characters of the non-blank lines"),
}

RAW_SIGNALS: dict[str, Signal] = LINE_SIGNALS | {
    "bytes": _count("bytes of UTF-8"),
    "lines": _count("lines as str.splitlines() sees them"),
    "paragraphs": _count("parts between blank lines"),
    "non_symbol_words": _count("words that are not punctuation or control characters only (Gopher's words)"),
    "unique_word_ratio": _ratio("distinct words / words"),
    "mean_word_length": Signal("mean characters of the words that are not punctuation only (Gopher)"),
    "max_word_length": _count("characters of the longest word"),
    "hash_ratio": Signal("`#` / words (Gopher)"),
    "ellipsis_ratio": Signal("`...` and `…` / words (Gopher)"),
    "bullet_line_ratio": _ratio("lines that begin with `•` or `-` / lines (Gopher)"),
    "ellipsis_line_ratio": _ratio("lines that end in `...` or `…` / lines (Gopher)"),
    "alpha_word_ratio": _ratio("words with a letter / words (Gopher)"),
    "stop_words": Signal("distinct stop words of the document's language (stop_words.py)", integer=True, upper=32),
    "dup_line_frac": _ratio("2nd and later copies of lines / lines (Gopher, datatrove's variant, as all below)"),
    "dup_line_char_frac": _ratio("characters in 2nd and later copies of lines / characters"),
    "dup_para_frac": _ratio("2nd and later copies of paragraphs / paragraphs"),
    "dup_para_char_frac": _ratio("characters in 2nd and later copies of paragraphs / characters"),
    **{
        f"top_{n}_gram": Signal(
            f"characters of the most frequent {n}-gram, joined by spaces, x its count / characters; may exceed 1"
        )
        for n in (2, 3, 4)
    },
    **{
        f"dup_{n}_gram": _ratio(f"characters in 2nd and later copies of {n}-grams, without overlap / characters")
        for n in range(5, 11)
    },
    "alphabetic_ratio": _ratio("letters / characters"),
    "digit_ratio": _ratio("digits / characters"),
    "uppercase_ratio": _ratio("upper-case letters / letters"),
    "whitespace_ratio": _ratio("white space / characters"),
    "punctuation_ratio": _ratio("punctuation (Unicode category P) / characters that are no white space"),
    "han_ratio": _ratio("Han characters / characters that are no white space"),
    "kana_ratio": _ratio("Hiragana and Katakana / characters that are no white space"),
    "hangul_ratio": _ratio("Hangul / characters that are no white space"),
    "curly_bracket": _count("occurrences of `{`"),
    "lorem_ipsum": _count("occurrences of `lorem ipsum`, in any case"),
}

# Of a document as a whole, in a signals shard that was computed with a language table (data_quality/language.py).
LANGUAGE_SIGNALS: dict[str, Signal] = {
    "language_score": _ratio("probability of the document's language"),
    "language_line_share": _ratio("lines in the document's language / lines that were judged; 1 where none was"),
    "simplified_share": _ratio("simplified / simplified and traditional Chinese characters; 0.5 where there is none"),
}

# Of a document as a whole, from a model: tables of their own beside the signals (classifier.py, perplexity.py).
SCORE_SIGNALS: dict[str, Signal] = {
    "classifier_score": _ratio("calibrated probability that the document is reference text"),
    "perplexity": Signal("perplexity per word under a language model of the reference"),
    "perplexity_percentile": Signal("documents of its language that are at most as surprising, in per cent", upper=100),
}

# Columns that hold a word, for rules with == or != a word, or in or not in a list of words.
TEXT_SIGNALS: dict[str, str] = {
    "language": "the document's language, ISO 639-1 (639-3 where there is none), `und` if it could not be told",
    "script": "the script of most letters, ISO 15924; Hans, Hant or Hani (neither) for Chinese",
    "perplexity_bucket": "head, middle or tail of its language by perplexity; all where it is not divided",
}

# Gopher's repetition as the paper's words say it, where datatrove's variant above says something else. A repeated line,
# paragraph or n-gram counts with all its copies, the first included; one that occurs once is no repetition; a
# character that several overlapping n-grams cover counts once. Words of punctuation only are left out.
PAPER_REPETITION: dict[str, Signal] = {
    "paper_dup_line_frac": _ratio("non-blank lines, stripped, that occur more than once / non-blank lines"),
    "paper_dup_line_char_frac": _ratio("characters of the lines that occur more than once / of all, stripped"),
    "paper_dup_para_frac": _ratio("paragraphs (between blank lines) that occur more than once / paragraphs"),
    "paper_dup_para_char_frac": _ratio("characters of the paragraphs that occur more than once / of all, stripped"),
    **{
        f"paper_top_{n}_gram": _ratio(
            f"characters of words in the most frequent {n}-gram / characters of words; 0 if it occurs once; of equally "
            "frequent ones that with the most characters"
        )
        for n in (2, 3, 4)
    },
    **{
        f"paper_dup_{n}_gram": _ratio(
            f"characters of words in any {n}-gram that occurs more than once / characters of words"
        )
        for n in range(5, 11)
    },
}

CHAR_REPETITION: dict[str, Signal] = {
    **{
        f"char_top_{n}_gram": _ratio(
            f"characters in the most frequent {n}-gram of characters, each once / characters, white space left out"
        )
        for n in (2, 3, 4)
    },
    **{
        f"char_dup_{n}_gram": _ratio(
            f"characters in any {n}-gram of characters that occurs more than once / characters, white space left out"
        )
        for n in range(5, 11)
    },
    "char_repeated_3_grams": _ratio(
        "the most frequent 3-grams of characters, as many as the root of their number and none that occurs once, with "
        "all copies / all 3-grams (ROOTS)"
    ),
    "char_dup_13_grams": _ratio("13-grams of characters that are a copy of an earlier one / 13-grams"),
}

CHINESE: dict[str, Signal] = {
    "char_entropy": Signal(
        "entropy of the characters that are no white space, in nats", upper=math.nextafter(math.log(0x110000), 15)
    ),
    "distinct_char_ratio": _ratio("distinct characters / characters, white space left out"),
    "digit_word_ratio": _ratio("digits / characters that are neither white space nor punctuation"),
    "punctuation": _count("punctuation characters (Unicode category P)"),
    "ellipsis_char_ratio": _ratio("`...` and `…` / characters"),
    "hash_run_ratio": _ratio("rows of `#` / characters"),
    "lenticular_ratio": _ratio("characters between 【 and the next 】 of the line / characters"),
    "readmore_line_ratio": _ratio(
        "non-blank lines that end in `...`, `…`, 。。。, readmore, read more, 展开, 更多 or 全文 / non-blank lines"
    ),
    "marker_line_ratio": _ratio("non-blank lines that begin with a bullet of any kind / non-blank lines"),
}

GROUPS: dict[str, dict[str, Signal]] = {
    "paper_repetition": PAPER_REPETITION,
    "char_repetition": CHAR_REPETITION,
    "chinese": CHINESE,
    "traditional": {
        "traditional_ratio": _ratio("Han characters that only traditional Chinese writes / Han characters"),
    },
    "paragraphs": {
        "third_longest_line": _count("characters of the third longest line, split at \\n; 0 with fewer than 3 lines"),
    },
    "stop_words": {
        "stop_word_count": _count("words that are one of: the be to of and that have with, copies counted (DCLM)"),
    },
    "url": {
        "url_domain": Signal("1 if the address is of a banned domain or below one", integer=True, upper=1),
        "url_substrings": _count("different banned strings in the address without `-` and `.`"),
        "url_hard_words": _count("different hard words in the address"),
        "url_soft_words": _count("different soft words in the address"),
    },
    "bad_words": {
        "bad_words": _count("places where a bad word of the document's language begins"),
        "bad_word_ratio": Signal("bad words / words"),
        "bad_words_per_line": Signal("sum over non-blank lines of their distinct bad words / non-blank lines"),
    },
}
"""Optional signals of the raw text, by group; a group is measured as a whole."""

_C4_DOCUMENT = {
    "lorem_ipsum": _count("lines with `lorem ipsum` that reach C4's document rules"),
    "curly_bracket": _count("lines with `{` that reach C4's document rules"),
}
_REMOVED = {"removed_ratio": _ratio("characters that the line edits remove / characters of the raw text")}

C4_SIGNALS: dict[str, Signal] = LINE_SIGNALS | _C4_DOCUMENT | _REMOVED
REFINEDWEB_SIGNALS: dict[str, Signal] = (
    LINE_SIGNALS
    | _REMOVED
    | {
        "removed_word_ratio": _ratio(
            "words, those of symbols only not counted, that the line edits remove / all of them"
        )
    }
)

RAW = "raw"
EDITED_SIGNALS: dict[str, dict[str, Signal]] = {
    "c4": C4_SIGNALS,
    "c4_dclm": C4_SIGNALS,
    "refinedweb": REFINEDWEB_SIGNALS,
}
"""Signals of the named text versions that line edits make."""

OPTIONAL_SIGNALS: dict[str, Signal] = {name: signal for group in GROUPS.values() for name, signal in group.items()}

DOCUMENT_SIGNALS = frozenset({*LANGUAGE_SIGNALS, *SCORE_SIGNALS, *TEXT_SIGNALS})
"""Signals of a document whatever its text version: a rule on any version may name them."""


def signals_of(text: str) -> frozenset[str]:
    """Names of all signals that the catalogue knows of a text version."""
    own = RAW_SIGNALS.keys() | OPTIONAL_SIGNALS.keys() if text == RAW else EDITED_SIGNALS[text].keys()
    return DOCUMENT_SIGNALS | own


def column(text: str, signal: str) -> str:
    """The column of a signals shard that holds `signal` of a text version."""
    return signal if text == RAW or signal in DOCUMENT_SIGNALS else f"{text}__{signal}"


def edits_column(text: str) -> str:
    """The column of a signals shard that holds the spans which a text version's line edits remove."""
    return f"{text}_edits"


def signal_columns(texts: Iterable[str] = ("c4",), groups: Collection[str] = ()) -> dict[str, Signal]:
    """All numeric columns of a signals shard in order, without the user's own.

    Args:
        texts: the edited text versions that are made.
        groups: the optional groups that are measured.
    """
    columns = dict(RAW_SIGNALS)
    for group, signals in GROUPS.items():
        if group in groups:
            columns |= signals
    for text in texts:
        columns |= {column(text, name): signal for name, signal in EDITED_SIGNALS[text].items()}
    return columns


def meaning(text: str, signal: str) -> str:
    """What a signal measures, in words."""
    if signal in TEXT_SIGNALS:
        return TEXT_SIGNALS[signal]
    numbers = (
        LANGUAGE_SIGNALS | SCORE_SIGNALS | (RAW_SIGNALS | OPTIONAL_SIGNALS if text == RAW else EDITED_SIGNALS[text])
    )
    return numbers[signal].meaning if signal in numbers else "a signal of the user's own"


def check_custom_names(names: Collection[str]) -> None:
    """Raise ValueError for a signal of the user's own whose name is taken or given twice."""
    taken = {*signal_columns(EDITED_SIGNALS, GROUPS), *map(edits_column, EDITED_SIGNALS), *DOCUMENT_SIGNALS}
    taken |= {"id", "source"}
    for name in names:
        if name in taken:
            raise UsageError(f"signals.custom: '{name}' is the name of a signal that exists; choose another")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise UsageError(f"signals.custom: given twice: {', '.join(twice)}")


def nearest(word: str, valid: Iterable[str]) -> str:
    """The end of an error message about an unknown word: the nearest valid one, or all."""
    names = sorted(valid)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; valid are: {', '.join(names)}"
