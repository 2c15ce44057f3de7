"""Boilerplate: the lines of every shard, and which of them stand in too many documents. Tables; no text is touched."""

from pathlib import Path
from typing import Any

from data_quality.config import BoilerplateConfig, LineTableConfig
from tasks.parts import build_parts, one_table, shard_parts
from tasks.stage import Work, stage
from tasks.store import Artifact
from tasks.tables import rows

MOST_FREQUENT = 20


@stage(version=1)
def line_tables(work: Work, config: LineTableConfig, *, corpus: Artifact) -> None:
    """Hash the lines of every document."""
    build_parts(work, "line_tables.shard", 1, lines_part, shard_parts(corpus, config))


def lines_part(directory: Path, shard: str, config: LineTableConfig) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.dedupe.lines import line_shard

    out = directory / "lines.parquet"
    return one_table(out, line_shard(Path(shard), out, config))


@stage(version=1)
def boilerplate(
    work: Work, config: BoilerplateConfig, *, corpus: Artifact, lines: Artifact, duplicates: list[Artifact]
) -> None:
    """Write boilerplate.parquet (the lines), spans.parquet (where they go) and leftovers.parquet (too little left).

    `lines` was made of `corpus` with `config.table`; what `duplicates` drop is not counted.
    """
    from data_quality.dedupe.lines import boilerplate_spans, find_boilerplate

    tables = [shard.path for shard in lines.shards()]
    found = work.directory / "boilerplate.parquet"
    memory_limit, threads = work.resources.memory_limit, work.resources.threads
    counted = find_boilerplate(
        tables,
        found,
        config,
        duplicate_paths=[artifact.file("duplicates.parquet") for artifact in duplicates],
        temp_directory=work.scratch,
        memory_limit=memory_limit,
        threads=threads,
    )
    removed = boilerplate_spans(
        tables,
        found,
        work.directory / "spans.parquet",
        work.directory / "leftovers.parquet",
        config,
        temp_directory=work.scratch,
        memory_limit=memory_limit,
        threads=threads,
    )
    work.counts |= {"counted": counted["documents"], "lines": counted["lines"], "boilerplate": counted["boilerplate"]}
    work.counts.update(removed)
    most = rows(
        "SELECT scope AS source, documents, first_end - first_start AS characters, first_id AS first_seen_in "
        "FROM read_parquet(?) ORDER BY documents DESC, scope, hash LIMIT ?",
        [str(found), MOST_FREQUENT],
        work,
    )  # not the lines themselves: personal data is still in this text
    work.table("boilerplate", most, "The lines that most documents share")
