"""Split: which kept documents train, validate and test; near-twins of test documents stay out of training."""

from data_quality.config import SplitConfig
from tasks.bands import in_order
from tasks.running.tables import rows
from tasks.stage import Work, stage
from tasks.store import Artifact


@stage(version=1)
def split(
    work: Work,
    config: SplitConfig,
    *,
    corpus: Artifact,
    signatures: Artifact,
    bands: list[Artifact],
    duplicates: Artifact,
) -> None:
    """Write split.parquet: id, split, and for the excluded the twin that is the reason."""
    from data_quality.split import split_documents

    out = work.directory / "split.parquet"
    with work.graceful_stop() as should_stop:
        counts = split_documents(
            [shard.path for shard in corpus.shards()],
            [shard.path for shard in in_order(signatures)],
            out,
            config,
            band_paths=[shard.path for artifact in bands for shard in artifact.shards()],
            duplicate_paths=[duplicates.file("duplicates.parquet")],
            temp_directory=work.scratch,
            memory_limit=work.resources.memory_limit,
            threads=work.resources.threads,
            progress=work.progress.start(int(signatures.counts()["documents"]), "documents"),
            should_stop=should_stop,
        )
    work.counts.update(counts)
    table = rows(
        "SELECT split, count(*) AS documents, sum(strlen(text))::BIGINT AS bytes FROM read_parquet(?) "
        "JOIN read_parquet(?) USING (id) GROUP BY ALL ORDER BY ALL",
        [str(out), [str(shard.path) for shard in corpus.shards()]],
        work,
    )
    work.counts.update({f"{row['split']}_bytes": row["bytes"] for row in table})
    work.table("documents", table, "Where the kept documents went")
