"""Words as ELMo reads them: rows of UTF-8 bytes between marks (allenai/bilm-tf `bilm/data.py`).

A row is [begin of word, bytes ..., end of word, padding ...]. There are 262 ids, whatever the language: 0 stands for
no word at all, byte b is 1 + b, then five marks.
"""

from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer

from lm.tokenizer import end_of_text_id, kind_of

BEGIN_OF_TEXT, END_OF_TEXT, BEGIN, END, PADDING = 257, 258, 259, 260, 261


def character_ids(words: Sequence[str], length: int) -> np.ndarray:
    """The characters of each word, int16 [words, length]; bytes beyond `length` - 2 are not read."""
    rows = np.full((len(words), length), PADDING, dtype=np.int16)
    for row, word in zip(rows, words, strict=True):
        content = np.frombuffer(word.encode("utf-8", "surrogatepass")[: length - 2], dtype=np.uint8)
        row[0] = BEGIN
        row[1 : len(content) + 1] = content.astype(np.int16) + 1
        row[len(content) + 1] = END
    return rows


def boundary_characters(length: int) -> np.ndarray:
    """What stands before and behind every text: int16 [length]. The end of one is the beginning of the next."""
    row = np.full(length, PADDING, dtype=np.int16)
    row[:3] = BEGIN, BEGIN_OF_TEXT, END
    return row


def vocabulary_characters(tokenizer: Tokenizer, length: int) -> np.ndarray:
    """The characters of every token of a tokenizer of words, int16 [vocab, length].

    The space that belongs to the word behind it is not read: " the" and "the" are one word. Raises ValueError for a
    tokenizer of another kind.
    """
    if (kind := kind_of(tokenizer)) != "word":
        raise ValueError(f"words are read by their characters, so the tokenizer must be of kind word, not {kind}")
    names = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    rows = character_ids([bare(name) for name in names], length)
    rows[end_of_text_id(tokenizer)] = boundary_characters(length)
    return rows


def bare(word: str) -> str:
    """A word without the one space before it."""
    return word[1:] if len(word) > 1 and word[0] == " " else word
