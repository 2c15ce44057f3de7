"""Repetition of word n-grams in compiled loops over integer arrays.

An n-gram is identified by a polynomial hash modulo the Mersenne prime 2^61 - 1: two different n-grams of one
document meet with a probability below length / 2^61, and the value is the same on every machine.
"""

import numpy as np

from data_quality.characters import ENDS_SENTENCE, LETTER, PUNCTUATION, SYMBOL
from data_quality.compiled import kernel

MODULUS = (1 << 61) - 1
BASE = 0x0A3C59AC2D1E5F73 % MODULUS  # any number that is large and fixed
MAX_N = 10

# What a word is to the sentence counter.
OTHER, PUNCTUATION_ONLY, SENTENCE_END = 0, 1, 2

_P = np.uint64(MODULUS)
_B = np.uint64(BASE)
_LOW31 = np.uint64((1 << 31) - 1)
_LOW30 = np.uint64((1 << 30) - 1)
_S1, _S30, _S31, _S61 = np.uint64(1), np.uint64(30), np.uint64(31), np.uint64(61)


@kernel(inline="always")
def _reduce(x):  # type: ignore[no-untyped-def]
    x = (x & _P) + (x >> _S61)
    return x - _P if x >= _P else x


@kernel(inline="always")
def _multiply(a, b):  # type: ignore[no-untyped-def]
    """a * b mod 2^61 - 1 without 128-bit integers: schoolbook on halves of 31 bits."""
    a_high, a_low = a >> _S31, a & _LOW31
    b_high, b_low = b >> _S31, b & _LOW31
    middle = a_low * b_high + a_high * b_low
    return _reduce(a_high * b_high * np.uint64(2) + (middle >> _S30) + ((middle & _LOW30) << _S31) + a_low * b_low)


@kernel
def describe_words(codes: np.ndarray, ends: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, ...]:
    """What the signals ask of each word: length, hash, BASE ** length, symbols only, has a letter, kind.

    `codes`: uint32 code points of all words in a row; `ends`: int64[words] where each ends; `classes`: the
    character class table. "Symbols only" is datatrove's `PUNCTUATION_SET`, kind what spaCy's sentencizer sees.
    """
    words = len(ends)
    lengths = np.empty(words, dtype=np.int32)
    hashes = np.empty(words, dtype=np.uint64)
    powers = np.empty(words, dtype=np.uint64)
    is_symbol = np.empty(words, dtype=np.bool_)
    has_letter = np.empty(words, dtype=np.bool_)
    kinds = np.empty(words, dtype=np.uint8)
    start = 0
    for word in range(words):
        value, power = np.uint64(0), np.uint64(1)
        every, some = np.int64(0xFFFF), np.int64(0)
        for i in range(start, ends[word]):
            value = _reduce(_multiply(value, _B) + np.uint64(codes[i]) + _S1)
            power = _multiply(power, _B)
            bits = np.int64(classes[codes[i]])
            every &= bits
            some |= bits
        lengths[word] = ends[word] - start
        hashes[word] = value
        powers[word] = power
        is_symbol[word] = every & SYMBOL != 0
        has_letter[word] = some & LETTER != 0
        kinds[word] = PUNCTUATION_ONLY if every & PUNCTUATION else OTHER
        if lengths[word] == 1 and every & ENDS_SENTENCE:
            kinds[word] = SENTENCE_END
        start = ends[word]
    return lengths, hashes, powers, is_symbol, has_letter, kinds


@kernel(inline="always")
def _slot(table, keys, key, mask):  # type: ignore[no-untyped-def]
    """Where `key` is or belongs in an open-addressing table whose entries index `keys` (-1: free)."""
    at = (key ^ (key >> np.uint64(29))) & mask
    while table[at] >= 0 and keys[table[at]] != key:
        at = (at + _S1) & mask
    return at


@kernel
def _table(n: int) -> np.ndarray:
    size = 16
    while size < 2 * n:
        size *= 2
    return np.full(size, -1, dtype=np.int32)


@kernel
def distinct_words(ids: np.ndarray) -> int:
    """How many different ids there are among `ids`, int32[words]."""
    keys = ids.astype(np.uint64)
    table = _table(len(ids))
    mask = np.uint64(len(table) - 1)
    count = 0
    for i in range(len(ids)):
        at = _slot(table, keys, keys[i], mask)
        if table[at] < 0:
            table[at] = i
            count += 1
    return count


@kernel
def distinct_among(ids: np.ndarray, offsets: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How many of the different ids `wanted`, int32[few], each document has: int64[documents].

    `ids`: int32[words] of all documents in a row, document i from offsets[i] to offsets[i + 1].
    """
    result = np.zeros(len(offsets) - 1, dtype=np.int64)
    for document in range(len(result)):
        found = np.zeros(len(wanted), dtype=np.bool_)
        for i in range(offsets[document], offsets[document + 1]):
            for j in range(len(wanted)):
                if ids[i] == wanted[j]:
                    found[j] = True
        result[document] = found.sum()
    return result


@kernel
def top_ngram_characters(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Characters of the most frequent 2-, 3- and 4-gram, words joined by a space, times its count: int64[3].

    Of equally frequent n-grams the first in the text counts; a count of one counts too (datatrove
    gopher_repetition_filter.py `find_top_duplicate`). `ids`, `lengths`: int32[words].
    """
    result = np.zeros(3, dtype=np.int64)
    words = len(ids)
    keys = np.zeros(words, dtype=np.uint64)
    for i in range(words):
        keys[i] = np.uint64(ids[i]) + _S1
    counts = np.zeros(words, dtype=np.int32)
    for n in range(2, 5):
        grams = words - n + 1
        if grams < 1:
            break
        for i in range(grams):
            keys[i] = _reduce(_multiply(keys[i], _B) + np.uint64(ids[i + n - 1]) + _S1)
        table = _table(grams)
        mask = np.uint64(len(table) - 1)
        best = 0
        counts[:grams] = 0
        for i in range(grams):
            at = _slot(table, keys, keys[i], mask)
            if table[at] < 0:
                table[at] = i
            counts[table[at]] += 1
        for i in range(grams):
            if counts[i] > counts[best]:
                best = i
        characters = n - 1
        for i in range(best, best + n):
            characters += lengths[i]
        result[n - 2] = characters * counts[best]
    return result


@kernel
def duplicate_ngram_characters(hashes: np.ndarray, powers: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Characters in second and later copies of 5- to 10-grams, found greedily without overlap: int64[6].

    Words are joined without a space, so `a bc` and `ab c` are one n-gram (datatrove
    gopher_repetition_filter.py `find_all_duplicate`). `hashes`, `powers`: uint64[words] of `describe_words`.
    """
    result = np.zeros(6, dtype=np.int64)
    words = len(hashes)
    keys = hashes.copy()
    sizes = lengths.astype(np.int64)
    for n in range(2, MAX_N + 1):
        grams = words - n + 1
        if grams < 1:
            break
        for i in range(grams):
            last = i + n - 1
            keys[i] = _reduce(_multiply(keys[i], powers[last]) + hashes[last])
            sizes[i] += lengths[last]
        if n < 5:
            continue
        table = _table(grams)
        mask = np.uint64(len(table) - 1)
        i = 0
        while i < grams:
            at = _slot(table, keys, keys[i], mask)
            if table[at] >= 0:
                result[n - 5] += sizes[i]
                i += n
            else:
                table[at] = i
                i += 1
    return result


# What `word_numbers` counts, in this order; then come the top 2- to 4-grams and the duplicate 5- to 10-grams.
DISTINCT, NON_SYMBOL, NON_SYMBOL_CHARACTERS, WITH_LETTER, LONGEST, TOP_2_GRAM = range(6)
DUP_5_GRAM = TOP_2_GRAM + 3


@kernel
def word_numbers(  # type: ignore[no-untyped-def]
    ids, offsets, lengths, hashes, powers, is_symbol, has_letter
) -> np.ndarray:
    """Counts over the words of each document, by the columns above: int64[documents, 14].

    `ids`: int32[words] of all documents in a row, document i from offsets[i] to offsets[i + 1]; `lengths` to
    `has_letter`: of each word of the vocabulary.
    """
    result = np.zeros((len(offsets) - 1, DUP_5_GRAM + 6), dtype=np.int64)
    for document in range(len(result)):
        own = ids[offsets[document] : offsets[document + 1]]
        row = result[document]
        own_lengths = np.empty(len(own), dtype=np.int32)
        own_hashes = np.empty(len(own), dtype=np.uint64)
        own_powers = np.empty(len(own), dtype=np.uint64)
        for i in range(len(own)):
            word = own[i]
            length = lengths[word]
            own_lengths[i], own_hashes[i], own_powers[i] = length, hashes[word], powers[word]
            if not is_symbol[word]:
                row[NON_SYMBOL] += 1
                row[NON_SYMBOL_CHARACTERS] += length
            row[WITH_LETTER] += has_letter[word]
            row[LONGEST] = max(row[LONGEST], length)
        row[DISTINCT] = distinct_words(own)
        row[TOP_2_GRAM:DUP_5_GRAM] = top_ngram_characters(own, own_lengths)
        row[DUP_5_GRAM:] = duplicate_ngram_characters(own_hashes, own_powers, own_lengths)
    return result


@kernel
def contained_characters(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Characters contained in repeated n-grams, each counted once, as Gopher's paper says: int64[9] for n = 2 to 10.

    For n of 2 to 4: characters in the most frequent n-gram; of equally frequent ones in that which covers the most.
    From 5 on: characters in all n-grams that occur more than once. An n-gram that occurs once is no repetition.
    `ids`: int32[words], equal for equal words; `lengths`: int32[words].
    """
    result = np.zeros(MAX_N - 1, dtype=np.int64)
    words = len(ids)
    before = np.zeros(words + 1, dtype=np.int64)  # characters before each word
    keys = np.zeros(words, dtype=np.uint64)
    for i in range(words):
        before[i + 1] = before[i] + lengths[i]
        keys[i] = np.uint64(ids[i]) + _S1
    first = np.zeros(words, dtype=np.int32)  # where the n-gram that begins here occurs first
    counts = np.zeros(words, dtype=np.int32)  # by first occurrence, as are the next two
    covered = np.zeros(words, dtype=np.int64)
    ends = np.zeros(words, dtype=np.int32)
    for n in range(2, MAX_N + 1):
        grams = words - n + 1
        if grams < 2:
            break
        table = _table(grams)
        mask = np.uint64(len(table) - 1)
        for i in range(grams):
            keys[i] = _reduce(_multiply(keys[i], _B) + np.uint64(ids[i + n - 1]) + _S1)
            counts[i] = covered[i] = ends[i] = 0
            at = _slot(table, keys, keys[i], mask)
            if table[at] < 0:
                table[at] = i
            first[i] = table[at]
            counts[first[i]] += 1
        if n < 5:
            best = 0
            for i in range(grams):
                gram = first[i]
                covered[gram] += before[i + n] - before[max(i, ends[gram])]
                ends[gram] = i + n
                if (counts[gram], covered[gram]) > (counts[best], covered[best]):
                    best = gram
            if counts[best] > 1:
                result[n - 2] = covered[best]
        else:
            end = 0
            for i in range(grams):
                if counts[first[i]] > 1:
                    result[n - 2] += before[i + n] - before[max(i, end)]
                    end = i + n
    return result


@kernel
def copied_ngrams(ids: np.ndarray, n: int) -> int:
    """How many n-grams are a copy of an earlier one. `ids`: uint32 or int32[words]."""
    grams = len(ids) - n + 1
    if grams < 2:
        return 0
    keys = np.zeros(grams, dtype=np.uint64)
    table = _table(grams)
    mask = np.uint64(len(table) - 1)
    copies = 0
    for i in range(grams):
        for j in range(i, i + n):
            keys[i] = _reduce(_multiply(keys[i], _B) + np.uint64(ids[j]) + _S1)
        at = _slot(table, keys, keys[i], mask)
        if table[at] < 0:
            table[at] = i
        else:
            copies += 1
    return copies


@kernel
def class_counts(classes: np.ndarray, offsets: np.ndarray, n_classes: int) -> np.ndarray:
    """How many characters of each text carry each class bit: int64[texts, n_classes].

    `classes`: uint16[characters] of all texts in a row, text i from offsets[i] to offsets[i + 1].
    """
    result = np.zeros((len(offsets) - 1, n_classes), dtype=np.int64)
    histogram = np.zeros(1 << n_classes, dtype=np.int64)
    for text in range(len(result)):
        for at in range(offsets[text], offsets[text + 1]):
            histogram[classes[at]] += 1
        for bits in range(len(histogram)):
            if histogram[bits]:
                for bit in range(n_classes):
                    if bits >> bit & 1:
                        result[text, bit] += histogram[bits]
                histogram[bits] = 0
    return result


@kernel
def sentences_by_line(kinds: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sentences of each line as spaCy's sentencizer counts them: int64[lines].

    A sentence ends before the first token that is no punctuation after a full stop (`SENTENCE_END`). `kinds`:
    uint8[tokens] with white-space tokens as OTHER; `starts`: int64[lines + 1] into it. A line has at least one.
    """
    result = np.ones(len(starts) - 1, dtype=np.int64)
    for line in range(len(result)):
        ended = False
        for i in range(starts[line], starts[line + 1]):
            if kinds[i] == SENTENCE_END:
                ended = True
            elif ended and kinds[i] == OTHER:
                result[line] += 1
                ended = False
    return result
