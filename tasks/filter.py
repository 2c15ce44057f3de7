"""Judge every document by the rules, then write the corpus twice: what is kept, and what is dropped with its reasons.

Judging reads signals only, so another threshold costs no pass over the text. The two views are written once, at the
end, and this is where the spans that a ruleset removes (C4's lines) leave the text.
"""

import shutil
from pathlib import Path
from typing import Any

import duckdb
from pydantic import Field

from data_quality.config import StrictModel
from data_quality.rules import Ruleset
from tasks.files import fsync_directory, fsync_file, read_json, write_json
from tasks.pool import map_locally
from tasks.stage import Work, stage
from tasks.store import Artifact
from tasks.tables import database, quoted, rows


class FilterConfig(StrictModel):
    """How the kept corpus is written."""

    edits: bool = Field(False, description="Apply the line edits of the C4 ruleset to the kept text.")


class JudgeRequest(StrictModel):
    """The rules themselves, thresholds overridden: what decides a verdict, rather than the names of files."""

    rulesets: tuple[Ruleset, ...]


@stage(version=1)
def judge(work: Work, config: JudgeRequest, *, signals: Artifact) -> None:
    """Give every document all reasons for which the rules would drop it."""
    from data_quality.rules import judge as judge_signals

    paths = [shard.path for shard in signals.shards()]
    out = work.directory / "verdicts.parquet"
    counts = judge_signals(
        paths, config.rulesets, out, memory_limit=work.resources.memory_limit, threads=work.resources.threads
    )
    work.counts |= {"documents": counts["documents"], "passed": counts["passed"]}
    rows = [
        {"reason": reason, "documents": count, "as first reason": counts["first_reasons"][reason]}
        for reason, count in counts["reasons"].items()
    ]
    work.table("reasons", rows, "Documents that each rule would drop; one document may have several reasons")


@stage(version=1)
def filter_corpus(
    work: Work,
    config: FilterConfig,
    *,
    corpus: Artifact,
    signals: Artifact,
    verdicts: Artifact,
    duplicates: Artifact,
) -> None:
    """Write kept/, dropped/ and decisions/, one file per shard of the corpus each."""
    shards = corpus.shards()
    _write_decisions(work, corpus, verdicts, duplicates, signals if config.edits else None)
    advance = work.progress.start(len(shards), "shards")
    names = [f"{number:05d}.parquet" for number in range(len(shards))]
    entries: dict[int, dict[str, Any]] = {}

    def done(index: int, entry: dict[str, Any]) -> None:
        entries[index] = entry
        advance(1)

    items = [(str(work.directory), name, str(shard.path)) for name, shard in zip(names, shards, strict=True)]
    map_locally(work.resources.runner)(filter_shard, items, work.resources.workers, done)
    for index in range(len(shards)):
        entry = entries[index]
        work.shards.append({key: entry[key] for key in ("path", "digest", "counts")})
        for name, value in {**entry["counts"], **entry["dropped"]}.items():
            work.counts[name] = work.counts.get(name, 0) + value
    work.digest = _combined(work)
    work.table("reasons", _reason_rows(work.directory), "Documents dropped, by the first reason")


def filter_shard(directory: str, name: str, shard: str) -> dict[str, Any]:
    """One shard, in a worker: decisions are there, the two views are written whole or not at all."""
    import pyarrow.parquet as pq

    from data_quality.documents import documents_digest
    from data_quality.views import write_views

    root = Path(directory)
    kept, dropped = root / "kept" / name, root / "dropped" / name
    if not (kept.exists() and dropped.exists()):
        write_views(Path(shard), root / "decisions" / name, kept, dropped)
    counts = {
        "documents": pq.read_metadata(kept).num_rows,
        "bytes": _text_bytes(kept),
    }
    lost = {"dropped": pq.read_metadata(dropped).num_rows, "dropped_bytes": _text_bytes(dropped)}
    return {"path": f"kept/{name}", "digest": documents_digest(kept), "counts": counts, "dropped": lost}


def _write_decisions(
    work: Work, corpus: Artifact, verdicts: Artifact, duplicates: Artifact, edits: Artifact | None
) -> None:
    """One decision for every document, in one file for every shard.

    The same documents cut into other shards have the same digest and so the same key: what a kill left of another cut
    is removed, since files are matched to shards by their number.
    """
    directory = work.directory / "decisions"
    finished = work.scratch / "decided.json"
    cut = [shard.digest for shard in corpus.shards()]
    if finished.exists() and read_json(finished) == cut:
        return
    for name in ("decisions", "kept", "dropped"):
        shutil.rmtree(work.directory / name, ignore_errors=True)
    directory.mkdir()
    with database(work.resources, work.scratch / "spill", work.scratch / "decisions.duckdb") as connection:
        _decide(connection, verdicts, duplicates, edits)
        for number, shard in enumerate(corpus.shards()):
            out = directory / f"{number:05d}.parquet"
            here = f"FROM decisions SEMI JOIN read_parquet({quoted(shard.path)}) USING (id)"
            connection.execute(
                f"COPY (SELECT decisions.* {here} ORDER BY id) TO {quoted(out)} (FORMAT parquet, COMPRESSION zstd)"
            )
            fsync_file(out)
    fsync_directory(directory)
    write_json(finished, cut)


def _decide(
    connection: duckdb.DuckDBPyConnection, verdicts: Artifact, duplicates: Artifact, edits: Artifact | None
) -> None:
    """Create the table of decisions: dropped by a rule, or as a duplicate, or kept; and which spans leave the text.

    Edits are found by document id: the same documents may be cut into other shards where they were measured.
    """
    spans, measured = '[]::STRUCT(start INTEGER, "end" INTEGER)[]', ""
    if edits is not None:
        spans = "s.c4_edits"
        paths = ", ".join(quoted(shard.path) for shard in edits.shards())
        measured = f"JOIN read_parquet([{paths}]) s ON s.id = v.id"
    connection.execute(
        f"""
        CREATE OR REPLACE TABLE decisions AS
        SELECT v.id,
               v.first_reason IS NULL AND d.dropped IS NULL AS kept,
               coalesce(v.first_reason, 'duplicate.' || d.kind) AS reason,
               v.reasons || CASE WHEN d.dropped IS NULL THEN [] ELSE ['duplicate.' || d.kind] END AS reasons,
               d.kept AS twin,
               d.jaccard,
               {spans} AS edits
        FROM read_parquet($verdicts) v {measured} LEFT JOIN read_parquet($duplicates) d ON d.dropped = v.id
        """,
        {
            "verdicts": str(verdicts.file("verdicts.parquet")),
            "duplicates": str(duplicates.file("duplicates.parquet")),
        },
    )


def _reason_rows(directory: Path) -> list[dict[str, Any]]:
    return rows(
        "SELECT coalesce(reason, 'kept') AS first_reason, count(*) AS documents FROM read_parquet(?) "
        "GROUP BY ALL ORDER BY documents DESC, first_reason",
        [str(directory / "decisions" / "*.parquet")],
    )


def _text_bytes(path: Path) -> int:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    return sum(
        int(pc.sum(pc.binary_length(batch["text"])).as_py() or 0)
        for batch in pq.ParquetFile(path).iter_batches(columns=["text"])
    )


def _combined(work: Work) -> str:
    from data_quality.documents import combine_digests

    return combine_digests([shard["digest"] for shard in work.shards])
