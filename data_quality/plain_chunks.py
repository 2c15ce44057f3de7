"""Most chunks are plain ASCII: these are cut here by spaCy's rules in a compiled loop, all new ones in one call.

What no special case of spaCy's may meet and no rare rule may touch is cut; every other chunk is left to `ChunkSplitter`
(data_quality/words.py), and a test holds the two equal.
"""

from typing import NamedTuple

import numpy as np

from data_quality.compiled import kernel
from data_quality.words import MAX_CHUNK_CHARACTERS, PLAIN_SUFFIXES

_DOT, _DASH, _DOLLAR, _APOSTROPHE, _SLASH = map(ord, ".-$'/")
(
    _LOWER, _UPPER, _DIGIT, _SUFFIX, _PREFIX, _LEAD, _QUOTE, _UNDERSCORE, _BETWEEN_DIGITS, _BETWEEN_LETTERS,
    _BEFORE_LETTER,
) = (1 << bit for bit in range(11))  # fmt: skip
_ALPHA = _LOWER | _UPPER
_ALPHANUMERIC = _ALPHA | _DIGIT

_OTHER_PREFIXES = "%=$"
_LONGEST_UNIT = 4  # letters of mbar, of all ASCII units that are suffixes


class PlainChunks(NamedTuple):
    """Words of chunks: chunk i has counts[i] spans of the array; 0: it is left to the rules."""

    counts: np.ndarray  # int64[chunks]
    starts: np.ndarray  # int64[words]
    ends: np.ndarray
    core_starts: np.ndarray  # int64[chunks]: what is between the prefixes and the suffixes
    core_ends: np.ndarray


def _kinds() -> np.ndarray:
    """Bits of each ASCII character. SUFFIX: a suffix by itself, and a prefix too; LEAD: may begin a word.

    BETWEEN_DIGITS, BETWEEN_LETTERS and BEFORE_LETTER are infixes there.
    """
    kinds = np.zeros(128, dtype=np.uint16)
    for code in range(128):
        character = chr(code)
        kinds[code] = (
            _LOWER * character.islower()
            + _UPPER * character.isupper()
            + _DIGIT * character.isdigit()
            + _SUFFIX * (character in PLAIN_SUFFIXES)
            + _PREFIX * (character in PLAIN_SUFFIXES or character in _OTHER_PREFIXES)
            + _LEAD * (character in "-/@|~^\\.")
            + _QUOTE * (character in "'\"`,")
            + _UNDERSCORE * (character == "_")
            + _BETWEEN_DIGITS * (character in "+-*^")
            + _BETWEEN_LETTERS * (character == ",")
            + _BEFORE_LETTER * (character in ":<>=/~")
        )
    return kinds


_KINDS = _kinds()
_NO_PAIRS = np.zeros((128, 128), dtype=np.bool_)


def cut_plain_chunks(codes: np.ndarray, offsets: np.ndarray, pairs: np.ndarray) -> PlainChunks:
    """Cut the chunks codes[offsets[i]:offsets[i + 1]] that are plain as spaCy's blank English tokenizer cuts them.

    Args:
        pairs: bool[128, 128], the two characters that spaCy may join again where both are words.
    """
    return PlainChunks(*_cut_all(codes, offsets, pairs, _KINDS, False))


def cut_plain_words(codes: np.ndarray, offsets: np.ndarray) -> PlainChunks:
    """Cut ASCII chunks into rows of letters, digits and underscores, and single other characters."""
    return PlainChunks(*_cut_all(codes, offsets, _NO_PAIRS, _KINDS, True))


def chunk_core(chunk: str) -> str:
    """What `cut_plain_chunks` takes for the core of a chunk if it is plain: prefixes, suffixes and `'s` go."""
    core = chunk.lstrip("".join(sorted(PLAIN_SUFFIXES)) + _OTHER_PREFIXES)
    while core and not (core[-1].isascii() and core[-1].isalnum()):
        core = core[:-1]
    return core[:-2] if len(core) > 2 and core.endswith(("'s", "'S")) else core


@kernel
def _cut_all(codes, offsets, pairs, kinds, into_rows):  # type: ignore[no-untyped-def]
    chunks = len(offsets) - 1
    counts = np.zeros(chunks, dtype=np.int64)
    core_starts = np.zeros(chunks, dtype=np.int64)
    core_ends = np.zeros(chunks, dtype=np.int64)
    starts = np.empty(offsets[-1] - offsets[0], dtype=np.int64)
    ends = np.empty(offsets[-1] - offsets[0], dtype=np.int64)
    words = 0
    for chunk in range(chunks):
        start, end = offsets[chunk], offsets[chunk + 1]
        if not 0 < end - start <= MAX_CHUNK_CHARACTERS or not _is_visible_ascii(codes, start, end):
            continue
        if into_rows:
            found = _cut_rows(codes, start, end, kinds, starts, ends, words)
        else:
            found, core_starts[chunk], core_ends[chunk] = _cut(codes, start, end, kinds, starts, ends, words)
            if found > words and _may_join(codes, starts, ends, words, found, pairs):
                found = words
        counts[chunk] = found - words
        words = found
    return counts, starts[:words], ends[:words], core_starts, core_ends


@kernel
def _cut(codes, start, end, kinds, starts, ends, words):  # type: ignore[no-untyped-def]
    """How many words there are with those of one chunk, none if it is not plain; and its core."""
    core = start
    while core < end and kinds[codes[core]] & _PREFIX:
        core += 1
    core_end = end
    while core_end > core and not kinds[codes[core_end - 1]] & _ALPHANUMERIC:
        core_end -= 1
    if core_end <= core or not kinds[codes[core]] & (_ALPHANUMERIC | _LEAD):
        return words, 0, 0
    if not _are_suffixes(codes, core, core_end, end, kinds):
        return words, 0, 0
    possessive = core_end - core > 2 and codes[core_end - 2] == _APOSTROPHE and codes[core_end - 1] | 32 == 115
    owner_end = core_end - 2 if possessive else core_end
    if _may_have_suffix(codes, core, owner_end, kinds):
        return words, 0, 0
    found = words
    for at in range(start, core):
        starts[found], ends[found] = at, at + 1
        found += 1
    found = _cut_core(codes, core, owner_end, kinds, starts, ends, found)
    if found < 0:
        return words, 0, 0
    if possessive:
        starts[found], ends[found] = owner_end, core_end
        found += 1
    for at in range(core_end, end):
        starts[found], ends[found] = at, at + 1
        found += 1
    return found, core, owner_end


@kernel
def _cut_core(codes, start, end, kinds, starts, ends, words):  # type: ignore[no-untyped-def]
    """Cut what ends with a letter or digit at spaCy's infixes; -1: that is left to the rules."""
    first = words
    word = start
    dotted = codes[start] == _DOT
    if dotted and codes[start + 1] == _DOT:
        return -1
    at = start + 1
    while at < end:
        code = codes[at]
        if code == _DOLLAR:  # a dollar may have a prefix of letters
            return -1
        before, after = kinds[codes[at - 1]], kinds[codes[min(at + 1, end - 1)]]
        if code == _DOT:
            if codes[at + 1] == _DOT or (before & (_LOWER | _QUOTE) and after & (_UPPER | _QUOTE)):
                return -1
            dotted = True
        here = kinds[code]
        length = 0
        if here & _BETWEEN_DIGITS and before & _DIGIT:
            length = after & _DIGIT != 0 or codes[at + 1] == _DASH
        elif (here & _BETWEEN_LETTERS and before & _ALPHA) or (here & _BEFORE_LETTER and before & _ALPHANUMERIC):
            length = after & _ALPHA != 0
        if length == 0 and code == _DASH and before & _ALPHANUMERIC:
            dashes = 1
            while codes[at + dashes] == _DASH:
                dashes += 1
            length = dashes if dashes <= 3 and kinds[codes[at + dashes]] & _ALPHA else 0
        if length:
            starts[words], ends[words] = word, at
            starts[words + 1], ends[words + 1] = at, at + length
            words += 2
            word = at + length
        at += max(length, 1)
    if dotted and words > first:  # were it a URL, it would be one word
        return -1
    starts[words], ends[words] = word, end
    return words + 1


@kernel
def _cut_rows(codes, start, end, kinds, starts, ends, words):  # type: ignore[no-untyped-def]
    """How many words there are with the rows of one chunk."""
    while start < end:
        stop = start + 1
        if kinds[codes[start]] & (_ALPHANUMERIC | _UNDERSCORE):
            while stop < end and kinds[codes[stop]] & (_ALPHANUMERIC | _UNDERSCORE):
                stop += 1
        starts[words], ends[words] = start, stop
        words += 1
        start = stop
    return words


@kernel
def are_jieba_words(codes, offsets):  # type: ignore[no-untyped-def]
    """Which strings codes[offsets[i]:offsets[i + 1]] have only Han of jieba's range, ASCII letters and digits: bool[n].

    Such a piece of rjieba's is one word of jieba's (segment.py).
    """
    words = np.empty(len(offsets) - 1, dtype=np.bool_)
    for i in range(len(words)):
        plain = offsets[i + 1] > offsets[i]
        for at in range(offsets[i], offsets[i + 1]):
            code = codes[at]
            plain &= 0x4E00 <= code <= 0x9FD5 or 48 <= code <= 57 or 65 <= code <= 90 or 97 <= code <= 122
        words[i] = plain
    return words


@kernel
def _is_visible_ascii(codes, start, end):  # type: ignore[no-untyped-def]
    visible = True
    for at in range(start, end):
        visible &= 33 <= codes[at] <= 126
    return visible


@kernel
def _are_suffixes(codes, begin, start, end, kinds):  # type: ignore[no-untyped-def]
    """Whether each character from `start` on is a suffix: a full stop is one behind most characters."""
    for at in range(start, end):
        if codes[at] == _DOT:
            before = kinds[codes[at - 1]]
            capitals = before & _UPPER and at - begin > 1 and kinds[codes[at - 2]] & _UPPER
            if not (before & (_LOWER | _DIGIT | _SUFFIX) or capitals):
                return False
        elif not kinds[codes[at]] & _SUFFIX:
            return False
    return True


@kernel
def _may_have_suffix(codes, start, end, kinds):  # type: ignore[no-untyped-def]
    """Whether what ends with a letter may end with a unit, or what ends otherwise with anything that is no word."""
    last = kinds[codes[end - 1]]
    if not last & _ALPHA:
        return not last & _DIGIT
    at = end - 1
    while at >= start and kinds[codes[at]] & _ALPHA:
        at -= 1
    if at < start or end - 1 - at > _LONGEST_UNIT:
        return False
    if codes[at] == _SLASH:  # m/s
        return at == end - 2
    return kinds[codes[at]] & _DIGIT != 0 or codes[at] == _APOSTROPHE


@kernel
def _may_join(codes, starts, ends, first, last, pairs):  # type: ignore[no-untyped-def]
    for word in range(first, last - 1):
        single = ends[word] - starts[word] == 1 and ends[word + 1] - starts[word + 1] == 1
        if single and pairs[codes[starts[word]], codes[starts[word + 1]]]:
            return True
    return False
