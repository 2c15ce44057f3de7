"""What each token of a text stands for, where its id alone does not say.

Three kinds of tokens have no fixed number of bytes: `<unk>`, everything in a tokenizer that normalises or drops
spaces (WordPiece), and pieces with the marks of other libraries. There a token stands for the bytes of the text
from the end of the token before it to its own end, the last one also for the rest. So the bytes of the tokens of a
document add up to the bytes of the document, if it has any token.
"""

from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from lm.tokenizers.common import pieces
from lm.tokenizers.panics import encoding_of
from lm.tokenizers.spelling import Spelling


class Encoded(NamedTuple):
    """One text in tokens: ids, the UTF-8 bytes each stands for, the nats that spelling an unknown one costs."""

    ids: np.ndarray  # int64 [tokens]
    bytes: np.ndarray  # int64 [tokens]
    spelling_nats: np.ndarray  # float64 [tokens], 0 for known tokens


def encode_spans(tokenizer: Tokenizer, texts: list[str], unknown: int | None, spelling: Spelling) -> list[Encoded]:
    """Encode texts without special tokens, and say what every token stands for.

    `unknown`: the id of the unknown token, whose text `spelling` pays for. A text without any token (only
    whitespace in WordPiece) leaves its bytes to nobody.
    """
    found = token_offsets(tokenizer, texts)
    return [_encoded(text, ids, spans, unknown, spelling) for text, (ids, spans) in zip(texts, found, strict=True)]


def token_offsets(tokenizer: Tokenizer, texts: list[str]) -> list[tuple[np.ndarray, list[tuple[int, int]]]]:
    """Token ids (int64) of each text, without special tokens, and where each token stands: begin and end in characters
    of the text as it was given, which may include the space before a word."""
    parts, owners, offsets = [], [], []
    for owner, text in enumerate(texts):
        begin = 0
        for part in pieces(tokenizer, text):
            parts.append(part)
            owners.append(owner)
            offsets.append(begin)
            begin += len(part)
    ids: list[list[int]] = [[] for _ in texts]
    spans: list[list[tuple[int, int]]] = [[] for _ in texts]
    with encoding_of(texts):
        encodings = tokenizer.encode_batch(parts, add_special_tokens=False)
    for owner, offset, encoding in zip(owners, offsets, encodings, strict=True):
        ids[owner].extend(encoding.ids)
        spans[owner].extend((start + offset, end + offset) for start, end in encoding.offsets)
    return [(np.array(i, dtype=np.int64), s) for i, s in zip(ids, spans, strict=True)]


def _encoded(
    text: str, ids: np.ndarray, spans: list[tuple[int, int]], unknown: int | None, spelling: Spelling
) -> Encoded:
    nats = np.zeros(len(ids))
    if not len(ids):
        return Encoded(ids, np.zeros(0, dtype=np.int64), nats)
    ends = np.maximum.accumulate(np.array([end for _, end in spans]))
    ends[-1] = len(text)
    size = np.diff(np.concatenate([[0], utf8_offsets(text)[ends]]))
    for at in np.flatnonzero(ids == unknown) if unknown is not None else ():
        start, end = spans[at]
        nats[at] = spelling.bits(text[start:end]) * np.log(2)
    return Encoded(ids, size, nats)


def utf8_offsets(text: str) -> np.ndarray:
    """The UTF-8 bytes before each character and at the end, int64 [characters + 1]."""
    code = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    size = 1 + (code > 0x7F).astype(np.int64) + (code > 0x7FF) + (code > 0xFFFF)
    return np.concatenate([[0], np.cumsum(size)])


def token_starts(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """Where each token of a text begins, in its characters, int64 [tokens]; never falling."""
    offset, starts = 0, [np.zeros(0, dtype=np.int64)]
    for part in pieces(tokenizer, text):
        with encoding_of([part]):
            encoding = tokenizer.encode(part, add_special_tokens=False)
        starts.append(np.array([start + offset for start, _ in encoding.offsets], dtype=np.int64))
        offset += len(part)
    return np.maximum.accumulate(np.concatenate(starts))
