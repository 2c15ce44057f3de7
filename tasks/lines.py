"""Boilerplate: the lines of every shard, and which of them stand in too many documents. Tables; no text is touched."""

import hashlib
from pathlib import Path
from typing import Any

from data_quality.config import BoilerplateConfig, LineTableConfig
from tasks.decide import LEFTOVERS
from tasks.running.parts import Part, build_parts, made_of, one_table, shard_parts
from tasks.running.tables import rows
from tasks.stage import Work, stage
from tasks.store import SCRATCH_DIRECTORY, Artifact

MOST_FREQUENT = 20
BOILERPLATE = "boilerplate.parquet"


@stage(version=1)
def line_tables(work: Work, config: LineTableConfig, *, corpus: Artifact) -> None:
    """Hash the lines of every document."""
    build_parts(work, "line_tables.shard", 1, lines_part, shard_parts(corpus, config))


def lines_part(directory: Path, shard: str, config: LineTableConfig) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.dedupe.lines import line_shard

    out = directory / "lines.parquet"
    return one_table(out, line_shard(Path(shard), out, config))


@stage(version=2)
def boilerplate(
    work: Work, config: BoilerplateConfig, *, corpus: Artifact, lines: Artifact, duplicates: list[Artifact]
) -> None:
    """Write boilerplate.parquet (the lines), and for every shard where they go and where too little is left.

    `lines` was made of `corpus` with `config.table`; what `duplicates` drop is not counted. A shard is looked at again
    if a line that stands in it has become boilerplate, or is none any more.
    """
    from data_quality.dedupe.lines import boilerplate_in, find_boilerplate

    shards = lines.shards()
    tables = [shard.path for shard in shards]
    found = work.directory / BOILERPLATE
    counted = find_boilerplate(
        tables,
        found,
        config,
        duplicate_paths=[artifact.file("duplicates.parquet") for artifact in duplicates],
        temp_directory=work.scratch,
        memory_limit=work.resources.memory_limit,
        threads=work.resources.threads,
    )
    parts = []
    for shard, documents, often in zip(shards, made_of(lines), boilerplate_in(tables, found, config), strict=True):
        material = {
            "shard": documents,
            "lines": shard.digest,
            "config": config.model_dump(mode="json"),
            "boilerplate": hashlib.sha256(often).hexdigest(),
        }
        parts.append(Part(material, (str(shard.path), often, config)))
    build_parts(work, "boilerplate.shard", 1, boilerplate_part, parts, light=True)
    work.counts |= {"counted": counted["documents"], "lines": counted["lines"], "boilerplate": counted["boilerplate"]}
    most = rows(
        "SELECT scope AS source, documents, first_end - first_start AS characters, first_id AS first_seen_in "
        "FROM read_parquet(?) ORDER BY documents DESC, scope, hash LIMIT ?",
        [str(found), MOST_FREQUENT],
        work,
    )  # not the lines themselves: personal data is still in this text
    work.table("boilerplate", most, "The lines that most documents share")


def boilerplate_part(directory: Path, lines: str, often: bytes, config: BoilerplateConfig) -> dict[str, Any]:
    """One shard, in a worker; `often` is the boilerplate that stands in it, as a Parquet file."""
    from data_quality.dedupe.lines import boilerplate_spans

    scratch, spans = directory / SCRATCH_DIRECTORY, directory / "spans.parquet"
    (scratch / BOILERPLATE).write_bytes(often)
    counts = boilerplate_spans([Path(lines)], scratch / BOILERPLATE, spans, directory / LEFTOVERS, config)
    return one_table(spans, counts)
