"""Words: how a text is cut into words, once, for every signal, rule and shingle that counts them.

Space-separated scripts are cut as spaCy's blank English tokenizer cuts them, because the thresholds that
datatrove and FineWeb publish mean those words. spaCy works chunk by chunk between white space, so a chunk's
words are looked up, not computed, from its second occurrence on (`data_quality/vocabulary.py`), and a new ASCII
chunk is cut here with spaCy's own rules but without building a spaCy document for it.

Han and Kana are never left as one unsegmented word: each character is a word of its own (a stated fallback until
a segmenter stands behind the same functions). Korean keeps its spaces: a word is an eojeol without its
punctuation.
"""

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np
import spacy
from spacy.symbols import ORTH
from spacy.tokenizer import Tokenizer

from data_quality.scripts import HAN, KANA, UNSEGMENTED

_UNSEGMENTED_OR_RUN = re.compile(f"[{HAN}{KANA}]|[^{HAN}{KANA}]+")
_WHITE_OR_CHUNK = re.compile(r"\s+|\S+")

# spaCy strips affixes one by one and rescans the rest each time: quadratic in the length of a chunk. A chunk
# longer than this (base64, an ASCII rule of 10,000 dashes) is cut in pieces of this length first.
MAX_CHUNK_CHARACTERS = 500

# ASCII characters that end a word and are one suffix by themselves in spaCy's English rules, whatever precedes.
_PLAIN_SUFFIXES = frozenset(",:;!?()[]{}<>_#*&'\"`")
# Most chunks are one of these: a core from letter or digit to letter or digit, with such characters around it.
_PLAIN_CHUNK = re.compile(
    r"""([,:;!?()\[\]{}<>_#*&'"`]*)([A-Za-z0-9](?:[!-~]*[A-Za-z0-9])?)(\.?)([,:;!?()\[\]{}<>_#*&'"`]*)"""
)
_ALPHANUMERIC = re.compile("[A-Za-z0-9]+")
_BEFORE_LETTER_SUFFIX = re.compile("[0-9']")  # units stand behind a digit, 's behind its apostrophe
_MAY_BE_INFIX = re.compile(r"[-.,:<>=/+*^~]")  # ASCII only, as are the chunks it is asked about
_SUFFIX_WINDOW = 16  # no suffix rule but a row of full stops looks at more characters than this


class ChunkSplitter:
    """Cuts one chunk (characters between white space) into words, equal to spaCy's `blank("en").tokenizer`."""

    def __init__(self) -> None:
        self._spacy: Tokenizer = spacy.blank("en").tokenizer
        self._special: dict[str, tuple[str, ...]] = {
            text: tuple(token[ORTH] for token in tokens) for text, tokens in self._spacy.rules.items()
        }
        self._special_cores = frozenset(run for text in self._special for run in _ALPHANUMERIC.findall(text))
        self._split_run = lru_cache(maxsize=50_000)(self.__call__)  # mostly punctuation between Chinese characters
        self._rejoined = _rejoined_pairs(self._spacy, self._special)

    def __call__(self, chunk: str) -> tuple[str, ...]:
        """The words of `chunk`, which holds no white space; joined they give `chunk` again."""
        if len(chunk) > MAX_CHUNK_CHARACTERS:
            cuts = range(0, len(chunk), MAX_CHUNK_CHARACTERS)
            return tuple(word for at in cuts for word in self(chunk[at : at + MAX_CHUNK_CHARACTERS]))
        if chunk.isascii():
            if chunk.isalpha():
                return self._special.get(chunk) or (chunk,)
            words = self._split_plain(chunk) or self._split_ascii(chunk)
            if self._rejoined.isdisjoint(pairwise(words)):
                return words
        elif UNSEGMENTED.search(chunk):
            runs: Iterable[str] = _UNSEGMENTED_OR_RUN.findall(chunk)
            return tuple(word for run in runs for word in ((run,) if UNSEGMENTED.match(run) else self._split_run(run)))
        return self._split_by_spacy(chunk)

    def _split_by_spacy(self, chunk: str) -> tuple[str, ...]:
        with self._spacy.vocab.memory_zone():  # or every distinct chunk would stay in spaCy's string store
            return tuple(token.text for token in self._spacy(chunk))

    def _split_plain(self, chunk: str) -> tuple[str, ...] | None:
        """What `_split_ascii` gives for most chunks, without asking the rules one by one; None for the others."""
        plain = _PLAIN_CHUNK.fullmatch(chunk)
        if plain is None:
            return None
        before, core, stop, after = plain.groups()
        if _ALPHANUMERIC.match(core)[0] in self._special_cores:  # type: ignore[index]
            return None
        if core[-1].isalpha() and _BEFORE_LETTER_SUFFIX.search(core, max(len(core) - 6, 0)):
            return None
        if (stop and core[-1].isupper()) or "$" in core:  # "A." is one word; US$5 has a prefix of letters
            return None
        return (*before, *self._split_middle(core), *stop, *after)

    def _split_ascii(self, chunk: str) -> tuple[str, ...]:
        """spaCy's algorithm (https://spacy.io/usage/linguistic-features#how-tokenizer-works): special cases stop
        it, else one prefix and one suffix go per round, and what is left is a URL or is cut at its infixes."""
        special, prefix_of, suffix_of = self._special, self._spacy.prefix_search, self._suffix_length
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
        if chunk[-1] in _PLAIN_SUFFIXES:
            return 1
        if chunk[-1].isdigit() or (
            chunk[-1].isalpha() and not _BEFORE_LETTER_SUFFIX.search(chunk, max(len(chunk) - 6, 0))
        ):
            return 0
        window = chunk if chunk.endswith("." * _SUFFIX_WINDOW) else chunk[-_SUFFIX_WINDOW:]
        found = self._spacy.suffix_search(window)
        return len(window) - found.start() if found else 0

    def _split_middle(self, chunk: str) -> tuple[str, ...]:
        if not chunk:
            return ()
        if chunk in self._special:
            return self._special[chunk]
        if not _MAY_BE_INFIX.search(chunk) or ("." in chunk and self._spacy.url_match(chunk)):
            return (chunk,)
        words: list[str] = []
        start = 0
        for infix in self._spacy.infix_finditer(chunk):
            if infix.start() == 0:
                continue
            if infix.start() > start:
                words.append(chunk[start : infix.start()])
            words.append(infix.group())
            start = infix.end()
        if start < len(chunk):
            words.append(chunk[start:])
        return tuple(words)


def _rejoined_pairs(tokenizer: Tokenizer, special: dict[str, tuple[str, ...]]) -> frozenset[tuple[str, str]]:
    """First two words of every special case that spaCy's affix rules cut (`:)`, `a.m.`, `he's`).

    spaCy looks for such rows of words after cutting and puts the special case in their place.
    """
    plain = Tokenizer(
        tokenizer.vocab,
        prefix_search=tokenizer.prefix_search,
        suffix_search=tokenizer.suffix_search,
        infix_finditer=tokenizer.infix_finditer,
        url_match=tokenizer.url_match,
    )
    rows = (tuple(token.text for token in plain(text)) for text in special)
    return frozenset((row[0], row[1]) for row in rows if len(row) > 1)


@cache
def chunk_splitter() -> ChunkSplitter:
    """The splitter of this process; building one takes a third of a second."""
    return ChunkSplitter()


def split_words(text: str) -> list[str]:
    """The words of `text` in order. White space is never a word; joined words give the text without it."""
    split = chunk_splitter()
    known: dict[str, tuple[str, ...]] = {}
    words: list[str] = []
    for chunk in text.split():
        pieces = known.get(chunk)
        if pieces is None:
            pieces = known[chunk] = split(chunk)
        words += pieces
    return words


def word_spans(text: str) -> np.ndarray:
    """Character spans of `split_words(text)`: int64 of shape [words, 2], each row start and end (exclusive)."""
    split = chunk_splitter()
    known: dict[str, tuple[str, ...]] = {}
    spans: list[tuple[int, int]] = []
    for match in re.finditer(r"\S+", text):
        chunk, at = match.group(), match.start()
        pieces = known.get(chunk)
        if pieces is None:
            pieces = known[chunk] = split(chunk)
        for word in pieces:
            spans.append((at, at + len(word)))
            at += len(word)
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


def spacy_tokens(chunk: str, split: ChunkSplitter) -> tuple[str, ...]:
    """The words of `chunk`, with each run of white space inside it as a token of its own, as spaCy keeps it."""
    if chunk.split() == [chunk]:
        return split(chunk)
    pieces = _WHITE_OR_CHUNK.findall(chunk)
    return tuple(token for piece in pieces for token in ((piece,) if piece.isspace() else split(piece)))
