"""Fixed-length training sequences cut from the documents of a `TokenIndex`."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lm.tokens import TokenIndex, named_documents


class PackedSequences:
    """Sequences of context + 1 tokens cut from one stream: `<|endoftext|> doc <|endoftext|> doc ...`.

    Neighbours overlap by one token, so that every token but the first is predicted exactly once; the tail that
    does not fill a sequence is left out. Any sequence is found in O(log documents); nothing is copied. Trains
    with `CausalObjective` (`Examples` protocol). `document_mask`: what `document_places` says is in each batch, so that
    the documents of a sequence do not see one another.
    """

    def __init__(self, index: TokenIndex, context: int, document_mask: bool = False) -> None:
        self.index = index
        self.context = context
        self.document_mask = document_mask
        self.fingerprint = f"{index.fingerprint}/{context}" + ("/documents" if document_mask else "")
        self._shards = index.open()
        self._spans = index.spans()
        lengths = index.length.astype(np.int64)
        self._begin = 1 + np.concatenate([[0], np.cumsum(lengths + 1)])  # of each document, in the stream
        self._count = max(0, (int(self._begin[-1]) - 1) // context)
        if not self._count:
            raise ValueError(
                f"{len(index)} documents with {index.tokens} tokens do not fill one sequence of {context}: "
                "give more text or a shorter context"
            )

    def __len__(self) -> int:
        return self._count

    def sequence(self, i: int) -> np.ndarray:
        """Sequence i, int64 [context + 1]."""
        tokens = np.full(self.context + 1, self.index.end_of_text, dtype=np.int64)
        for place, shard, start, end in self._slices(i):
            tokens[place : place + end - start] = self._shards[shard][start:end]
        return tokens

    def spans(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """What the tokens of sequence i stand for: (bytes int64, spelling nats float64), each [context + 1].

        Only for tokens without fixed bytes; `<|endoftext|>` stands for no bytes.
        """
        assert self._spans is not None
        size, nats = np.zeros(self.context + 1, dtype=np.int64), np.zeros(self.context + 1)
        for place, shard, start, end in self._slices(i):
            here = slice(place, place + end - start)
            size[here], nats[here] = self._spans[shard].of(self._shards[shard][start:end], start)
        return size, nats

    def _slices(self, i: int) -> Iterator[tuple[int, int, int, int]]:
        """The documents in sequence i: (place in the sequence, shard, start in it, end in it)."""
        if not 0 <= i < self._count:
            raise IndexError(f"sequence {i} of {self._count}")
        first, end = i * self.context, (i + 1) * self.context + 1
        document = max(0, int(np.searchsorted(self._begin, first, side="right")) - 1)
        while document < len(self.index) and (begin := int(self._begin[document])) < end:
            low, high = max(first, begin), min(end, begin + int(self.index.length[document]))
            if low < high:
                offset = int(self.index.start[document]) - begin
                yield low - first, int(self.index.shard[document]), offset + low, offset + high
            document += 1

    def where(self, number: int) -> str:
        """The documents that a sequence is cut from: for messages."""
        low, high = np.searchsorted(self._begin, [number * self.context, (number + 1) * self.context + 1])
        return named_documents(self.index, range(max(0, int(low) - 1), min(int(high), len(self.index))))

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        """{"tokens": int64 [len(indices), context + 1]}; for tokens without fixed bytes also "bytes" (int64) and
        "spelling_nats" (float64) of the same shape, as `spans` says them; with `document_mask` also "documents" and
        "positions" (int64)."""
        tokens = np.stack([self.sequence(int(i)) for i in indices])
        batch = {"tokens": torch.from_numpy(tokens)}
        if self.document_mask:
            documents, positions = document_places(tokens, self.index.end_of_text)
            batch |= {"documents": torch.from_numpy(documents), "positions": torch.from_numpy(positions)}
        if self._spans is not None:
            size, nats = zip(*(self.spans(int(i)) for i in indices), strict=True)
            batch |= {"bytes": torch.from_numpy(np.stack(size)), "spelling_nats": torch.from_numpy(np.stack(nats))}
        return batch


def document_places(tokens: np.ndarray, end_of_text: int) -> tuple[np.ndarray, np.ndarray]:
    """Of packed tokens [batch, time]: which document each is of, and where in it, both int64 of the same shape.

    `<|endoftext|>` begins the document behind it: it is predicted from the document before, and read with the next one.
    Positions restart at 0 with each document (Krell et al. 2021, arXiv 2107.02027, for BERT): it then gets exactly the
    probability that it gets alone, and learned positions mean in training what they mean when a text is scored or
    continued. Going on through the sequence would hide the neighbours and still show how long they are. With rotary
    positions, of which distances alone matter, the two are one (Llama 3 has the mask and goes on). What began in the
    sequence before begins at 0, too.
    """
    begins = tokens == end_of_text
    place = np.arange(tokens.shape[1])
    return begins.cumsum(1), place - np.maximum.accumulate(np.where(begins, place, 0), axis=1)
