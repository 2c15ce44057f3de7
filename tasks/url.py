"""URL dedupe: documents of one address. The addresses are read shard by shard, and grouped here."""

from pathlib import Path
from typing import Any

from data_quality.config import UrlDedupeConfig, UrlFormConfig
from tasks.running.parts import build_parts, one_table, shard_parts
from tasks.stage import Work, stage
from tasks.store import Artifact


@stage(version=1)
def urls(work: Work, config: UrlFormConfig, *, corpus: Artifact) -> None:
    """Read and normalise the address of every document."""
    build_parts(work, "urls.shard", 1, urls_part, shard_parts(corpus, config))


def urls_part(directory: Path, shard: str, config: UrlFormConfig) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.dedupe.url import url_shard

    out = directory / "urls.parquet"
    return one_table(out, url_shard(Path(shard), out, config))


@stage(version=2)
def url_dedupe(work: Work, config: UrlDedupeConfig, *, urls: Artifact, verdicts: list[Artifact]) -> None:
    """Keep one document of each address: duplicates.parquet, as near-dedupe writes it.

    `verdicts`: one, or none if every document passes.
    """
    from data_quality.dedupe.url import url_dedupe as dedupe

    counts = dedupe(
        [shard.path for shard in urls.shards()],
        work.directory / "duplicates.parquet",
        config,
        verdict_paths=[shard.path for artifact in verdicts for shard in artifact.shards()],
        temp_directory=work.scratch,
        memory_limit=work.resources.memory_limit,
        threads=work.resources.threads,
    )
    work.counts.update(counts)
