"""Sentences of token shards, by a plain rule over tokens, English and Chinese.

A sentence ends behind `.`, `!`, `?` or `…` (and quotes or brackets that close) where whitespace follows, and behind
`。`, `！`, `？` anyhow; not behind the full stop of an initial or of a common abbreviation. Token shards say where
whitespace stands: in WordPiece, which drops it, a token with whitespace before it stands for more bytes than its id
says (`lm.spans`); in byte-level BPE it is part of the token. Letter case is not asked: uncased tokens have none. A
text without such marks is one sentence, and a sentence longer than an example is cut.
"""

import re
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from lm.tokenizer import kind_of
from lm.tokenizers.common import CONTINUES
from lm.tokens import TokenIndex

WESTERN, CHINESE, CLOSING = ".!?…", "。！？", "\"'”’»）)]】』」》"
COMMON = """mr mrs ms dr prof st sr jr vs etc no fig eq sec ch vol pp inc ltd co corp gen col lt sgt rev hon dept univ
est approx jan feb mar apr jun jul aug sep sept oct nov dec al cf ed eds ca"""
ABBREVIATIONS = frozenset(COMMON.split())


def token_texts(tokenizer: Tokenizer) -> list[str]:
    """What each token looks like in a text, with the space that it may begin with, without `##`; "" for special tokens.

    A byte-level token that is a part of a character only shows as U+FFFD.
    """
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    names = [tokenizer.id_to_token(i) or "" for i in range(tokenizer.get_vocab_size())]
    if kind_of(tokenizer) == "byte_bpe":
        names = [tokenizer.decoder.decode([name]) for name in names]
    else:
        names = [name.removeprefix(CONTINUES) for name in names]
    return ["" if i in special else name for i, name in enumerate(names)]


class SentenceEnds:
    """Finds where sentences end in the tokens of a document."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        texts = token_texts(tokenizer)
        pieces = kind_of(tokenizer) == "wordpiece"
        closing = re.escape(CLOSING)
        mark = re.compile(rf"[^\w\s]*[{re.escape(WESTERN + CHINESE)}][{closing}]*")
        self.mark = np.array([mark.fullmatch(text.strip()) is not None for text in texts])
        self.chinese = np.array([any(c in CHINESE for c in text) for text in texts]) & self.mark
        self.closing = np.array([re.fullmatch(rf"[{closing}]+", text.strip()) is not None for text in texts])
        self.full_stop = np.array([text.strip() == "." for text in texts])
        words = [text.strip().lower() for text in texts]
        self.abbreviation = np.array(
            [(len(word) == 1 and word.isalpha() and word.isascii()) or word in ABBREVIATIONS for word in words]
        )
        self.goes_on = np.array([text[:1].isalnum() for text in texts])
        if pieces:
            names = [tokenizer.id_to_token(i) or "" for i in range(len(texts))]
            self.goes_on = np.array([name.startswith(CONTINUES) for name in names])
        self.ends_open = np.array([text[-1:].isalnum() for text in texts])
        self.leading_space = np.array([text[:1].isspace() for text in texts])

    def __call__(self, ids: np.ndarray, spaced: np.ndarray | None = None) -> np.ndarray:
        """Whether a sentence ends with a token, bool [tokens]; the last one always ends one.

        `ids`: int [tokens]; `spaced`: where whitespace stands before a token, if its id does not say so.
        """
        count = len(ids)
        ends = np.zeros(count, dtype=bool)
        if not count:
            return ends
        spaced = self.leading_space[ids] if spaced is None else spaced
        spaced = np.append(spaced, True)  # the end of a document is as good as a space
        glued = np.append((self.closing | self.mark)[ids], False) & ~spaced
        last = np.flatnonzero(self.mark[ids])
        before, earlier = ids[np.maximum(last - 1, 0)], ids[np.maximum(last - 2, 0)]
        begins = ~self.goes_on[before] | ~self.ends_open[earlier] | (last < 2)
        cannot = self.full_stop[ids[last]] & self.abbreviation[before] & begins & (last > 0)
        anyhow = self.chinese[ids[last]]
        while (more := glued[last + 1]).any():  # ... and what closes behind it
            last = last + more
        ends[last[(anyhow | spaced[last + 1]) & ~cannot]] = True
        ends[-1] = True
        return ends


@dataclass(frozen=True)
class Sentences:
    """The sentences of a `TokenIndex`, in the stream `doc [SEP] doc [SEP] ...` of its documents in their order.

    `low`, `high`: int64 [sentences], where each begins and ends. `first`: int64 [documents + 1], which sentences belong
    to a document: first[d] .. first[d + 1] - 1. `begin`: int64 [documents + 1], where documents begin.
    """

    low: np.ndarray
    high: np.ndarray
    first: np.ndarray
    begin: np.ndarray


def find_sentences(index: TokenIndex, tokenizer: Tokenizer, longest: int) -> Sentences:
    """Cut all documents into sentences of at most `longest` tokens."""
    rule, shards, spans = SentenceEnds(tokenizer), index.open(), index.spans()
    lengths = index.length.astype(np.int64)
    begin = np.concatenate([[0], np.cumsum(lengths + 1)])
    lows, highs, counts = [], [], []
    for document in range(len(index)):
        shard, start, length = (int(column[document]) for column in (index.shard, index.start, index.length))
        ids = shards[shard][start : start + length]
        spaced = None
        if spans is not None:
            spaced = spans[shard].of(ids, start)[0] > spans[shard].by_id[ids]
        low, high = _cut(np.flatnonzero(rule(ids, spaced)) + 1, longest)
        lows.append(low + begin[document])
        highs.append(high + begin[document])
        counts.append(len(low))
    empty = [np.empty(0, dtype=np.int64)]
    first = np.concatenate([[0], np.cumsum(np.array(counts, dtype=np.int64))])
    return Sentences(np.concatenate(lows or empty), np.concatenate(highs or empty), first, begin)


def _cut(high: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Begins and ends of sentences that end before `high`, the long ones in pieces of equal length."""
    low = np.concatenate([[0], high[:-1]])[: len(high)]
    pieces = -(-(high - low) // longest)
    owner = np.repeat(np.arange(len(high)), pieces)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    size = (high - low)[owner]
    return low[owner] + size * number // pieces[owner], low[owner] + size * (number + 1) // pieces[owner]
