"""Words: how a text is cut into words, once, for every signal, rule and shingle that counts them.

Space-separated scripts are cut as spaCy's blank English tokenizer cuts them, because the thresholds that
datatrove and FineWeb publish mean those words. spaCy works chunk by chunk between white space, so a chunk's
words are looked up, not computed, from its second occurrence on (`data_quality/vocabulary.py`), and a new one is cut
with spaCy's own rules but without building a spaCy document for it.

Chinese, Japanese and Korean are cut by `data_quality/segment.py`; Thai, Lao, Burmese, Khmer, Tibetan and the rarer
living scripts without spaces have a fallback, a word for each letter with its marks (`data_quality/scripts.py`). So
never is an unsegmented sentence one word. How a document is cut depends on its language: a Chinese one wholly by jieba,
every other by spaCy's rules between white space with runs of those scripts cut by theirs; where the language is not
known, the scripts decide.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np

from data_quality.characters import CLASSES, IS_HAN, IS_HANGUL, IS_KANA, LETTER, class_table, code_points
from data_quality.english_rules import english_rules
from data_quality.ngrams import class_counts
from data_quality.per_thread import per_thread
from data_quality.scripts import EAST_ASIAN, HAN, KANA, LETTERS, UNIT, UNSPACED
from data_quality.segment import (
    HANGUL_SYLLABLE,
    base_language,
    chinese_words,
    cjk_language,
    japanese_words,
    jieba_cut,
    jieba_words,
    korean_words,
    word_rule,
)

_EAST_ASIAN_OR_RUN = re.compile(f"[{HAN}{KANA}]+|[^{HAN}{KANA}]+")
_UNIT_OR_RUN = re.compile(f"{UNIT.pattern}|[^{LETTERS}]+")
_KANA = re.compile(f"[{KANA}]")
_WHITE_OR_CHUNK = re.compile(r"\s+|\S+")
_PLAIN_WORD = re.compile(r"\w+|[^\w\s]")

# spaCy strips affixes one by one and rescans the rest each time: quadratic in the length of a chunk. A chunk
# longer than this (base64, an ASCII rule of 10,000 dashes) is cut in pieces of this length first.
MAX_CHUNK_CHARACTERS = 500

# ASCII characters that end a word and are one suffix by themselves in spaCy's English rules, whatever precedes.
PLAIN_SUFFIXES = frozenset(",:;!?()[]{}<>_#*&'\"`")
_BEFORE_LETTER_SUFFIX = re.compile("[0-9'’]")  # units stand behind a digit, 's behind its apostrophe
_MAY_BE_INFIX = re.compile(r"[-.,:<>=/+*^~]|[^\x00-\x7f\w]")
_SUFFIX_WINDOW = 16  # no suffix rule but a row of full stops looks at more characters than this


class ChunkSplitter:
    """Cuts one chunk (characters between white space) into words.

    Without Hangul and scripts that have no spaces they equal those of spaCy's `blank("en").tokenizer`; or, with
    `plain`, they are runs of letters, digits and underscores, and single other characters, which is faster where most
    chunks are new. With `characters` each Han or Kana character is a word and Hangul is cut by no ending, so that a
    quotation has the same words whatever stands around it.
    """

    def __init__(self, plain: bool = False, characters: bool = False) -> None:
        self._plain = plain
        self._characters = characters
        self._rules = english_rules()
        self._special: dict[str, tuple[str, ...]] = {}  # none while it is seen what the affix rules make of each
        self._rows = self._special_rows()
        self._special = self._rules.special
        self._split_run = lru_cache(maxsize=50_000)(self.__call__)  # mostly punctuation between Chinese or Thai

    def __call__(self, chunk: str, japanese: bool = False) -> tuple[str, ...]:
        """The words of `chunk`, which holds no white space; joined they give `chunk` again.

        A row of Han characters is cut as Japanese if `japanese` (the document is) or if the chunk has Kana.
        """
        if not chunk.isascii() and UNSPACED.search(chunk):
            found: list[str] = _UNIT_OR_RUN.findall(chunk)
            words_of = [(run,) if UNSPACED.match(run) else self._split_run(run, japanese) for run in found]
            return tuple(word for words in words_of for word in words)
        if len(chunk) > MAX_CHUNK_CHARACTERS:
            cuts = range(0, len(chunk), MAX_CHUNK_CHARACTERS)
            return tuple(word for at in cuts for word in self(chunk[at : at + MAX_CHUNK_CHARACTERS], japanese))
        if not chunk.isascii() and EAST_ASIAN.search(chunk):
            runs: Iterable[str] = _EAST_ASIAN_OR_RUN.findall(chunk)
            cut: Callable[[str], Iterable[str]] = japanese_words if japanese or _KANA.search(chunk) else chinese_words
            if self._characters:
                cut = iter
            return tuple(word for run in runs for word in (cut if EAST_ASIAN.match(run) else self._split_run)(run))
        words = tuple(_PLAIN_WORD.findall(chunk)) if self._plain else self._split_by_rules(chunk)
        if not self._characters and not chunk.isascii() and HANGUL_SYLLABLE.search(chunk):
            return tuple(part for word in words for part in korean_words(word))
        return words

    def _special_rows(self) -> dict[tuple[str, str], list[tuple[str, ...]]]:
        """The words that affix rules make of special cases which they cut (`:)`, `a.m.`, `he's`), by the first two.

        spaCy looks for such rows of words after cutting and puts the special case in their place.
        """
        rows: dict[tuple[str, str], list[tuple[str, ...]]] = {}
        for case in self._rules.special:
            row = self._strip_affixes(case)
            if len(row) > 1:
                rows.setdefault((row[0], row[1]), []).append(row)
        return rows

    def special_cases(self) -> list[str]:
        """Chunks that have words of their own."""
        return list(self._special)

    def joined_words(self) -> set[str]:
        """Words with a letter or digit that may be joined with a neighbour to a special case."""
        return {word for pair in self._rows for word in pair if any(map(str.isalnum, word))}

    def joined_pairs(self) -> np.ndarray:
        """bool[128, 128]: two ASCII characters that, as words, may be joined to the beginning of a special case."""
        pairs = np.zeros((128, 128), dtype=np.bool_)
        for one, other in self._rows:
            if len(one) == len(other) == 1 and (one + other).isascii():
                pairs[ord(one), ord(other)] = True
        return pairs

    def _split_by_rules(self, chunk: str) -> tuple[str, ...]:
        """spaCy's words, without a spaCy document."""
        if chunk.isascii() and chunk.isalpha():
            return self._special.get(chunk) or (chunk,)
        words = self._strip_affixes(chunk)
        return words if self._rows.keys().isdisjoint(pairwise(words)) else self._join_special_cases(words)

    def _join_special_cases(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """With special cases where the words stand in a row that the affix rules make of one: the longest first."""
        found = [
            (at, row)
            for at, pair in enumerate(pairwise(words))
            for row in self._rows.get(pair, ())
            if words[at : at + len(row)] == row
        ]
        chosen: dict[int, tuple[str, ...]] = {}
        taken: set[int] = set()
        for at, row in sorted(found, key=lambda match: (-len(match[1]), match[0])):
            if at not in taken and at + len(row) - 1 not in taken:
                chosen[at] = row
            taken.update(range(at, at + len(row)))  # by one that is not chosen, too: so does spaCy's filter
        joined: list[str] = []
        at = 0
        while at < len(words):
            row = chosen.get(at, ())
            joined += self._special["".join(row)] if row else (words[at],)
            at += len(row) or 1
        return tuple(joined)

    def _strip_affixes(self, chunk: str) -> tuple[str, ...]:
        """spaCy's algorithm (https://spacy.io/usage/linguistic-features#how-tokenizer-works): special cases stop
        it, else one prefix and one suffix go per round, and what is left is a URL or is cut at its infixes."""
        special, prefix_of, suffix_of = self._special, self._rules.prefix.search, self._suffix_length
        before: list[str] = []
        after: list[str] = []
        while chunk and chunk not in special:
            found = prefix_of(chunk)
            prefix = found.end() if found else 0
            if prefix and chunk[prefix:] in special:
                before.append(chunk[:prefix])
                chunk = chunk[prefix:]
                break
            suffix = suffix_of(chunk[prefix:])
            if suffix and chunk[:-suffix] in special:
                after.append(chunk[-suffix:])
                chunk = chunk[:-suffix]
                break
            if not prefix and not suffix:
                break
            if prefix:
                before.append(chunk[:prefix])
            if suffix:
                after.append(chunk[-suffix:])
            chunk = chunk[prefix : len(chunk) - suffix]
        return (*before, *self._split_middle(chunk), *reversed(after))

    def _suffix_length(self, chunk: str) -> int:
        if not chunk:
            return 0
        if chunk[-1] in PLAIN_SUFFIXES:
            return 1
        if chunk[-1].isdecimal() or (
            chunk[-1].isalpha() and not _BEFORE_LETTER_SUFFIX.search(chunk, max(len(chunk) - 6, 0))
        ):
            return 0
        window = chunk if chunk.endswith("." * _SUFFIX_WINDOW) else chunk[-_SUFFIX_WINDOW:]
        found = self._rules.suffix.search(window)
        return len(window) - found.start() if found else 0

    def _split_middle(self, chunk: str) -> tuple[str, ...]:
        if not chunk:
            return ()
        if chunk in self._special:
            return self._special[chunk]
        if not _MAY_BE_INFIX.search(chunk) or ("." in chunk and self._rules.url.match(chunk)):
            return (chunk,)
        words: list[str] = []
        start = 0
        for infix in self._rules.infix.finditer(chunk):
            if infix.start() == 0:
                continue
            if infix.start() > start:
                words.append(chunk[start : infix.start()])
            words.append(infix.group())
            start = infix.end()
        if start < len(chunk):
            words.append(chunk[start:])
        return tuple(words)


@per_thread
def chunk_splitter(plain: bool = False, characters: bool = False) -> ChunkSplitter:
    """The splitter of this thread."""
    return ChunkSplitter(plain, characters)


def language_by_script(counts: np.ndarray) -> str:
    """zh, ja or ko where their scripts carry a text, else en, as which every other language is cut.

    `counts`: int64[CLASSES], the characters of each class (`ngrams.class_counts`).
    """
    letters, han, kana, hangul = (int(counts[bits.bit_length() - 1]) for bits in (LETTER, IS_HAN, IS_KANA, IS_HANGUL))
    return cjk_language(letters, han, kana, hangul) or "en"


def text_language(text: str, language: str | None = None) -> str:
    """The language whose rule cuts `text`: the one given (a code such as `zh-Hant`), or by script if none is."""
    known = base_language(language)
    if known is not None or text.isascii():
        return known or "en"
    classes = class_table()[code_points(text)]
    return language_by_script(class_counts(classes, np.array([0, len(classes)]), CLASSES)[0])


def _pieces(text: str, language: str | None, plain: bool) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Where each row of characters without white space between words starts in `text`, and its words."""
    rule = word_rule(text_language(text, language))
    if rule == "chinese":
        at = 0
        for piece in jieba_cut(text):
            yield at, jieba_words(piece)
            at += len(piece)
        return
    split = chunk_splitter(plain)
    known: dict[str, tuple[str, ...]] = {}
    for match in re.finditer(r"\S+", text):
        chunk = match.group()
        words = known.get(chunk)
        if words is None:
            words = known[chunk] = split(chunk, rule == "japanese")
        yield match.start(), words


def split_words(text: str, language: str | None = None) -> list[str]:
    """The words of `text` in order, `language` as `text_language` takes it.

    White space is never a word; joined words give the text without it.
    """
    return [word for _, words in _pieces(text, language, plain=False) for word in words]


def word_spans(text: str, language: str | None = None, plain: bool = False) -> np.ndarray:
    """Character spans of the words of `text`: int64[words, 2], each row start and end (exclusive).

    They are those of `split_words(text, language)`; with `plain`, see `ChunkSplitter`.
    """
    spans: list[tuple[int, int]] = []
    for at, words in _pieces(text, language, plain):
        for word in words:
            spans.append((at, at + len(word)))
            at += len(word)
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


def spacy_tokens(chunk: str, split: Callable[[str], tuple[str, ...]]) -> tuple[str, ...]:
    """The words of `chunk`, with each run of white space inside it as a token of its own, as spaCy keeps it."""
    if chunk.split() == [chunk]:
        return split(chunk)
    pieces = _WHITE_OR_CHUNK.findall(chunk)
    return tuple(token for piece in pieces for token in ((piece,) if piece.isspace() else split(piece)))
