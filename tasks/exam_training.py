"""The documents that a model has read: of its own training, and of those of the models that it went on from."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.store import Artifact

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Training:
    """What one training read: the training documents of a split, or of these the ones that a mixture draws."""

    tokens: Artifact
    split: Artifact
    corpus: Artifact
    mixture: Artifact | None

    def ids(self) -> set[str]:
        """Of the documents that were read at least once."""
        import pyarrow.parquet as pq

        filters = [("split", "=", "train")]
        found = set(pq.read_table(self.split.file("split.parquet"), columns=["id"], filters=filters)["id"].to_pylist())
        if self.mixture is None:
            return found
        drawn = pq.read_table(self.mixture.file("copies.parquet"), columns=["id"], filters=[("copies", ">", 0)])
        return found & set(drawn["id"].to_pylist())


def trainings(
    tokens: Sequence[Artifact],
    split: Sequence[Artifact],
    corpus: Sequence[Artifact],
    mixture: Sequence[Artifact],
    mixed: Sequence[bool],
) -> list[Training]:
    """One for each of `mixed`, which says whether there is a mixture, too."""
    mixtures = iter(mixture)
    return [
        Training(t, s, c, next(mixtures) if has else None)
        for t, s, c, has in zip(tokens, split, corpus, mixed, strict=True)
    ]


def all_ids(read: Sequence[Training]) -> set[str]:
    """Of every document that any of the trainings read."""
    return {id for training in read for id in training.ids()}


def token_documents(read: Sequence[Training], among: set[str] | None = None) -> Iterator[tuple[str, "np.ndarray"]]:
    """(id, token ids) of each document, or of those `among` them; a document that two corpora have comes twice."""
    from lm.tokens import shard_documents
    from tasks.tokenizer import token_stems

    for tokens in dict.fromkeys(training.tokens for training in read):
        wanted = all_ids([training for training in read if training.tokens == tokens])
        yield from shard_documents(token_stems(tokens), wanted if among is None else wanted & among)


def text_documents(read: Sequence[Training], among: set[str] | None = None) -> Iterator[tuple[str, str]]:
    """(id, text) of each, likewise."""
    import pyarrow.parquet as pq

    for corpus in dict.fromkeys(training.corpus for training in read):
        wanted = all_ids([training for training in read if training.corpus == corpus])
        wanted = wanted if among is None else wanted & among
        for shard in corpus.shards():
            for batch in pq.ParquetFile(shard.path).iter_batches(columns=["id", "text"], batch_size=1000):
                for id, text in zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True):
                    if id in wanted:
                        yield id, text


def first_by_hash(ids: set[str], count: int) -> set[str]:
    """`count` of them, those with the least hash: the same whatever the order of shards."""
    if len(ids) <= count:
        return ids
    return set(sorted(ids, key=lambda id: (hashlib.blake2b(id.encode(), digest_size=8).digest(), id))[:count])
