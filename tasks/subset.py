"""Subset: training documents of a wanted number of tokens, so that more and less data can be compared."""

from pydantic import Field

from lm.config import StrictModel
from tasks.running.tables import database
from tasks.stage import Work, stage
from tasks.store import Artifact
from tasks.tokenizer import count_tables


class SubsetConfig(StrictModel):
    """How much is kept."""

    tokens: int = Field(ge=1, description="Tokens of the training documents that are kept, at most.")


@stage(version=1)
def subset(work: Work, config: SubsetConfig, *, tokens: Artifact, split: Artifact) -> None:
    """Write copies.parquet (id, copies), which `pretrain` takes for a mixture: each document of it once an epoch.

    Training documents in the order of the hash of their ids, each that still fits. So a larger subset has nearly all
    that a smaller one has, and none depends on files or shards.

    Raises:
        ValueError: no document is so small.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = [str(path) for path in count_tables(tokens)]
    with database(work.resources, work.scratch) as connection:
        rows = connection.execute(
            """
            SELECT id, tokens FROM read_parquet($documents)
            SEMI JOIN (FROM read_parquet($split) WHERE split = 'train') USING (id)
            ORDER BY md5(id), id
            """,
            {"documents": paths, "split": str(split.file("split.parquet"))},
        ).fetchall()
    kept, left = [], config.tokens
    for id, size in rows:
        if 0 < size <= left:
            kept.append(id)
            left -= size
    if not kept:
        smallest = min((size for _, size in rows if size), default=0)
        raise ValueError(f"no training document has {config.tokens:,} tokens or fewer: the shortest has {smallest:,}")
    pq.write_table(
        pa.table({"id": kept, "copies": pa.array([1] * len(kept), pa.int32())}), work.directory / "copies.parquet"
    )
    work.counts |= {"documents": len(kept), "tokens": config.tokens - left}
