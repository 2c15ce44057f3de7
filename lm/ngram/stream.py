"""A corpus as one stream of token ids, `B d1 d1 d1 B d2 d2 B`, in chunks.

B is the boundary: one id that plays two parts. As what is predicted it is `</s>`, the end of a sequence; as the
beginning of a context it is `<s>`. Nothing is ever predicted from what stands before a boundary, so the two parts
never meet in one n-gram. In a corpus of tokens B is `<|endoftext|>` and a document is a sequence; in a corpus of
words a line is one.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lm.tokens import TokenIndex

CHUNK = 1 << 20


def index_stream(index: TokenIndex) -> Iterator[np.ndarray]:
    """The documents of a token index, uint32 chunks of about a million tokens."""
    shards = index.open()
    places = zip(index.shard.tolist(), index.start.tolist(), index.length.tolist(), strict=True)
    return sequence_stream(
        (shards[shard][start : start + length] for shard, start, length in places), index.end_of_text
    )


def sequence_stream(sequences: Iterable[Sequence[int] | np.ndarray], boundary: int) -> Iterator[np.ndarray]:
    """Any sequences of token ids, uint32 chunks of about a million tokens. An empty sequence is a sequence too."""
    edge = np.array([boundary], dtype=np.uint32)
    waiting, size = [edge], 1
    for sequence in sequences:
        waiting += [np.asarray(sequence, dtype=np.uint32), edge]
        size += len(sequence) + 1
        if size >= CHUNK:
            yield np.concatenate(waiting)
            waiting, size = [], 0
    if waiting:
        yield np.concatenate(waiting)
