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
    trained: int | None = None
    """Tokens of all its steps; None: it counted every document."""

    def copies(self) -> dict[str, int]:
        """How often each document is read in one pass, without those that are not."""
        import pyarrow.parquet as pq

        filters = [("split", "=", "train")]
        found = pq.read_table(self.split.file("split.parquet"), columns=["id"], filters=filters)["id"].to_pylist()
        if self.mixture is None:
            return dict.fromkeys(found, 1)
        drawn = pq.read_table(self.mixture.file("copies.parquet"), columns=["id", "copies"])
        often = dict(zip(drawn["id"].to_pylist(), drawn["copies"].to_pylist(), strict=True))
        return {id: copies for id in found if (copies := often.get(id, 0)) > 0}

    def ids(self) -> set[str]:
        """Of the documents that a pass reads."""
        return set(self.copies())

    def passes(self) -> float | None:
        """How often the documents were gone through; below 1 some were not read at all. None: once, every one."""
        import pyarrow.parquet as pq

        from tasks.tokenizer import token_stems

        if self.trained is None:
            return None
        copies, size = self.copies(), 0
        for stem in token_stems(self.tokens):
            table = pq.read_table(stem.with_name(stem.name + ".parquet"), columns=["id", "tokens"])
            rows = zip(table["id"].to_pylist(), table["tokens"].to_pylist(), strict=True)
            size += sum(copies.get(id, 0) * tokens for id, tokens in rows)
        return self.trained / size if size else None


def trainings(
    tokens: Sequence[Artifact],
    split: Sequence[Artifact],
    corpus: Sequence[Artifact],
    mixture: Sequence[Artifact],
    mixed: Sequence[bool],
    trained: Sequence[int | None],
) -> list[Training]:
    """One for each of `mixed`, which says whether there is a mixture, too."""
    mixtures = iter(mixture)
    return [
        Training(t, s, c, next(mixtures) if has else None, size)
        for t, s, c, has, size in zip(tokens, split, corpus, mixed, trained, strict=True)
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
