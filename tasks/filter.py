"""Judge every document by the rules, then write the corpus twice: what is kept, and what is dropped with its reasons.

Judging reads signals only, so another threshold costs no pass over the text. The two views are written once, at the
end, and this is where every span leaves the text: lines that rulesets edit, boilerplate, personal data, contamination.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from data_quality.config import DocumentList, StrictModel
from data_quality.hashing import combine_digests
from data_quality.rules import Ruleset
from tasks.decide import Judged, write_decisions
from tasks.pool import map_locally
from tasks.stage import Work, stage
from tasks.store import Artifact
from tasks.tables import rows, score_tables

if TYPE_CHECKING:
    import pyarrow as pa


class FilterConfig(StrictModel):
    """How the kept corpus is written."""

    edits: tuple[str, ...] = Field((), description="Text versions whose line edits are made in the kept text.")


class JudgeRequest(StrictModel):
    """The rules themselves, thresholds overridden: what decides a verdict, rather than the names of files."""

    rulesets: tuple[Ruleset, ...]
    keep: DocumentList = DocumentList()
    drop: DocumentList = DocumentList()


@stage(version=2)
def judge(work: Work, config: JudgeRequest, *, signals: Artifact, scores: list[Artifact]) -> None:
    """Give every document all reasons for which the rules would drop it.

    Args:
        scores: further tables of numbers by id (classifier, perplexity), which rules name like signals.
    """
    from data_quality.rules import judge as judge_signals

    paths = [shard.path for shard in signals.shards()]
    out = work.directory / "verdicts.parquet"
    counts = judge_signals(
        paths,
        config.rulesets,
        out,
        score_paths=[score_tables(artifact) for artifact in scores],
        memory_limit=work.resources.memory_limit,
        threads=work.resources.threads,
        keep=config.keep,
        drop=config.drop,
        scratch=work.scratch / "spill",
    )
    work.counts |= {"documents": counts["documents"], "passed": counts["passed"]}
    if counts["unmatched"]:
        work.counts["unmatched"] = len(counts["unmatched"])
        work.table("unmatched", counts["unmatched"], "Entries of the keep- and drop-list that no document has")
    rows = [
        {"reason": reason, "documents": count, "as first reason": counts["first_reasons"][reason]}
        for reason, count in counts["reasons"].items()
    ]
    work.table("reasons", rows, "Documents that each rule would drop; one document may have several reasons")


@stage(version=5)
def filter_corpus(
    work: Work,
    config: FilterConfig,
    *,
    corpus: Artifact,
    signals: Artifact,
    verdicts: Artifact,
    duplicates: list[Artifact],
    spans: list[Artifact],
    drops: list[Artifact],
) -> None:
    """Write kept/, dropped/ and decisions/, one file per shard of the corpus each, and index.parquet (by id).

    Args:
        duplicates: artifacts with duplicates.parquet, the ones whose reason counts first in front.
        spans: artifacts whose tables are spans (SPANS_SCHEMA). Kinds `pii.*` leave kept and dropped texts, others the
            kept ones only.
        drops: artifacts that list documents to drop with their reasons (tasks/decide.py).
    """
    shards = corpus.shards()
    write_decisions(work, corpus, Judged(verdicts, duplicates, signals, config.edits, spans, drops))
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
    work.digest = combine_digests(shard["digest"] for shard in work.shards)
    work.table("reasons", _reason_rows(work), "Documents dropped, by the first reason")


def filter_shard(directory: str, name: str, shard: str) -> dict[str, Any]:
    """One shard, in a worker: decisions are there, the two views are written whole or not at all."""
    from data_quality.documents import documents_digest, read_shard
    from data_quality.views import write_views

    root = Path(directory)
    kept, dropped = root / "kept" / name, root / "dropped" / name
    if kept.exists() and dropped.exists():
        views = (read_shard(kept), read_shard(dropped))
    else:
        views = write_views(Path(shard), root / "decisions" / name, kept, dropped)
    counts, lost = ({"documents": view.num_rows, "bytes": _text_bytes(view)} for view in views)
    return {
        "path": f"kept/{name}",
        "digest": documents_digest(views[0]),
        "counts": counts,
        "dropped": {"dropped": lost["documents"], "dropped_bytes": lost["bytes"]},
    }


def _reason_rows(work: Work) -> list[dict[str, Any]]:
    return rows(
        "SELECT coalesce(reason, 'kept') AS first_reason, count(*) AS documents FROM read_parquet(?) "
        "GROUP BY ALL ORDER BY documents DESC, first_reason",
        [str(work.directory / "decisions" / "*.parquet")],
        work,
    )


def _text_bytes(documents: "pa.Table") -> int:
    import pyarrow.compute as pc

    return int(pc.sum(pc.binary_length(documents["text"])).as_py() or 0)
