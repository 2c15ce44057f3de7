"""Decontamination: an index of benchmark items, and the documents that share rows of words with them."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from data_quality.benchmarks import BenchmarkFile, list_files, read_items
from data_quality.config import DecontaminateConfig
from tasks.machine.home import home
from tasks.running.parts import Part, build_parts, one_table
from tasks.running.tables import rows
from tasks.stage import NoConfig, Work, stage
from tasks.store import Artifact

LIBRARIES = ("spacy", "unicode")


class BenchmarkRequest(BaseModel):
    """The benchmark files, fingerprinted, and how long a shared row of words must be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: DecontaminateConfig
    files: tuple[BenchmarkFile, ...]

    def key_material(self) -> dict[str, Any]:
        """The files' content and reader settings, the lengths; not what is done with a document that shares a row."""
        lengths = self.config.model_dump(mode="json", exclude={"enabled", "benchmarks", "action"})
        return {"lengths": lengths, "files": [file.key_material() for file in self.files]}


def benchmark_request(config: DecontaminateConfig) -> BenchmarkRequest:
    """Look at the benchmark files as they are now."""
    cache = home() / "fingerprints.sqlite"
    return BenchmarkRequest(config=config, files=tuple(list_files(config.benchmarks, cache)))


@stage(version=3, libraries=LIBRARIES)
def benchmark_index(work: Work, config: BenchmarkRequest) -> None:
    """Write the rows of words of every benchmark item, by hash."""
    from data_quality.decontaminate import build_index

    items = (item for file in config.files for item in read_items(file))
    work.counts.update(build_index(items, work.directory, config.config))


@stage(version=3, libraries=LIBRARIES)
def contamination(work: Work, config: NoConfig, *, corpus: Artifact, index: Artifact) -> None:
    """Find the documents that share a row of words with a benchmark item, with the spans and items as evidence."""
    parts = [
        Part({"index": index.digest, "shard": shard.digest}, (str(shard.path), str(index.path)))
        for shard in corpus.shards()
    ]
    found = build_parts(work, "contamination.shard", 3, contamination_part, parts, libraries=LIBRARIES)
    table = rows(
        "SELECT reason, count(*) AS documents, round(avg(share), 3) AS mean_share FROM "
        "(SELECT unnest(reasons) AS reason, share FROM read_parquet(?)) GROUP BY ALL ORDER BY documents DESC, reason",
        [[str(part.path / "documents.parquet") for part in found]],
        work,
    )
    work.table("contamination", table, "Documents that share a row of words with an item of a benchmark")


def contamination_part(directory: Path, shard: str, index: str) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.decontaminate import Index, contamination_shard

    spans = directory / "spans.parquet"
    counts = contamination_shard(Path(shard), spans, directory / "documents.parquet", Index(Path(index)))
    return one_table(spans, counts)
