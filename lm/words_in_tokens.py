"""Where words begin among tokens: what whole-word masking, spans of words and pseudo-likelihood by word go by."""

import re
from collections.abc import Callable, Iterable

import numpy as np
from tokenizers import Tokenizer

from lm.sentences import token_texts
from lm.tokenizer import kind_of
from lm.tokenizers.common import CONTINUES

Segment = Callable[[str], Iterable[str]]
"""Cuts a stretch of Chinese into words, which put together are the stretch."""
HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")


def chinese_words(text: str) -> list[str]:
    """A stretch of Chinese in words. By this name, which can be sent to another process; what is behind it cannot."""
    import rjieba

    return list(rjieba.cut(text))


class WordStarts:
    """Finds where words begin. In WordPiece a token goes on where it has `##`; in byte-level BPE where it begins with a
    letter or digit behind one. Where `segment` is given, tokens of one Chinese character each make the words that it
    finds (Cui et al. 2021, whole-word masking for Chinese BERT); without it each is a word."""

    def __init__(self, tokenizer: Tokenizer, segment: Segment | None = None) -> None:
        self.segment = segment
        self.texts = token_texts(tokenizer)
        pieces = kind_of(tokenizer) == "wordpiece"
        han = [HAN.fullmatch(text) is not None for text in self.texts]
        if pieces:
            goes_on = [(tokenizer.id_to_token(i) or "").startswith(CONTINUES) for i in range(len(self.texts))]
            ends_open = [True] * len(self.texts)
        else:
            goes_on = [text[:1].isalnum() and not h for text, h in zip(self.texts, han, strict=True)]
            ends_open = [text[-1:].isalnum() and not h for text, h in zip(self.texts, han, strict=True)]
        self.goes_on, self.ends_open, self.han = np.array(goes_on), np.array(ends_open), np.array(han)

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        """Whether a word begins with a token, bool [tokens]; the first one always begins one."""
        starts = ~self.goes_on[ids]
        starts[1:] |= ~self.ends_open[ids[:-1]]
        starts[:1] = True
        if self.segment is not None:
            han = self.han[ids] & starts
            edges = np.flatnonzero(np.diff(np.concatenate([[False], han, [False]]).astype(np.int8)))
            for low, high in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
                words = self.segment("".join(self.texts[i] for i in ids[low:high].tolist()))
                lengths = np.array([len(word) for word in words])
                starts[low:high] = False
                starts[low + np.cumsum(lengths) - lengths] = True
        return starts
