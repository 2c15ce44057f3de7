"""Every signal by name: what it measures, its type and its greatest possible value.

A rule may name any of these. A signal of the C4-edited text version is the column `c4__` + name. This module imports
nothing heavy, so that rules can be checked without the libraries that measure.
"""

from typing import NamedTuple


class Signal(NamedTuple):
    """One numeric column: `integer` or a float; never null, never negative, at most `upper` (None: unbounded)."""

    meaning: str
    integer: bool = False
    upper: float | None = None


def _ratio(meaning: str) -> Signal:
    return Signal(meaning, upper=1.0)


def _count(meaning: str) -> Signal:
    return Signal(meaning, integer=True)


# Signals of any text version: the raw text and, prefixed, the text that C4's line edits leave.
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

# Columns that hold a word, for rules with == or != a word, or in or not in a list of words.
TEXT_SIGNALS: dict[str, str] = {
    "language": "the document's language, ISO 639-1 (639-3 where there is none), `und` if it could not be told",
    "script": "the script of most letters, ISO 15924; Hans, Hant or Hani (neither) for Chinese",
}

C4_PREFIX = "c4__"

C4_SIGNALS: dict[str, Signal] = LINE_SIGNALS | {
    "lorem_ipsum": _count("lines with `lorem ipsum` that reach C4's document rules"),
    "curly_bracket": _count("lines with `{` that reach C4's document rules"),
    "removed_ratio": _ratio("characters that the line edits remove / characters of the raw text"),
}


def signal_columns(c4: bool) -> dict[str, Signal]:
    """All numeric columns of a signals shard in order; those of the C4 text version only where it is made."""
    edited = {C4_PREFIX + name: signal for name, signal in C4_SIGNALS.items()} if c4 else {}
    return RAW_SIGNALS | edited
