"""Judge every document by the rules, and write the corpus twice: what is kept, and what is dropped with its reasons.

Judging reads signals only, so another threshold costs no pass over the text. Between the two, `decide` puts the tables
of all steps together. The two views are written once, at the end, and this is where every span leaves the text: lines
that rulesets edit, boilerplate, personal data, contamination.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_quality.config import DocumentList, StrictModel
from data_quality.hashing import combine_digests
from data_quality.rules import Ruleset
from tasks.decide import CUT
from tasks.files import read_json
from tasks.parts import Part, build_parts, tables_beside
from tasks.stage import NoConfig, Work, stage
from tasks.store import Artifact
from tasks.tables import score_tables

if TYPE_CHECKING:
    import pyarrow as pa


KEPT, DROPPED = "kept.parquet", "dropped.parquet"


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


@stage(version=7)
def filter_corpus(
    work: Work, config: NoConfig, *, corpus: Artifact, decisions: Artifact, measured: list[Artifact]
) -> None:
    """Write the two views of every shard: kept.parquet and dropped.parquet. The digest is that of what is kept.

    A shard whose documents and decisions are those of an earlier corpus is found, not written. The views are cut as the
    decisions are. As a rule that is how the corpus is cut; the same documents may since have been cut otherwise, and
    then each table looks its documents up in all of them.

    Args:
        measured: signals and scores, which the dropped documents get beside their decision.
    """
    shards, tables = corpus.shards(), decisions.shards()
    if read_json(decisions.file(CUT)) == [shard.digest for shard in shards]:
        looked_up = [(shard.digest, [str(shard.path)]) for shard in shards]
        beside = [tables_beside(corpus, artifact) for artifact in measured]
    else:
        looked_up = [(corpus.digest, [str(shard.path) for shard in shards])] * len(tables)
        beside = [[(a.digest, [str(path) for path in score_tables(a)])] * len(tables) for a in measured]
    parts = []
    for number, (digest, paths) in enumerate(looked_up):
        numbers = [found[number] for found in beside]
        material = {"documents": digest, "decisions": tables[number].digest, "measured": [key for key, _ in numbers]}
        parts.append(Part(material, (paths, str(tables[number].path), [path for _, path in numbers])))
    views = build_parts(work, "filter.shard", 7, filter_shard, parts)
    work.digest = combine_digests(view.digest for view in views)


def filter_shard(
    directory: Path, documents: Sequence[str], decisions: str, measured: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.documents import documents_digest
    from data_quality.views import write_views

    shards = [Path(shard) for shard in documents]
    numbers = [[Path(path) for path in paths] for paths in measured]
    kept, dropped = write_views(shards, Path(decisions), directory / KEPT, directory / DROPPED, numbers)
    digest = documents_digest(kept)
    counts = {"documents": kept.num_rows, "bytes": _text_bytes(kept)}
    lost = {"dropped": dropped.num_rows, "dropped_bytes": _text_bytes(dropped)}
    return {
        "counts": {**counts, **lost},
        "shards": [{"path": KEPT, "digest": digest, "counts": counts}],
        "digest": digest,
    }


def kept_tables(filtered: Artifact) -> list[Path]:
    """The documents of a filtered corpus, shard by shard."""
    return [shard.path for shard in filtered.shards()]


def dropped_tables(filtered: Artifact) -> list[Path]:
    """The documents that it dropped, with their decisions, shard by shard."""
    return [path.with_name(DROPPED) for path in kept_tables(filtered)]


def _text_bytes(documents: "pa.Table") -> int:
    import pyarrow.compute as pc

    return int(pc.sum(pc.binary_length(documents["text"])).as_py() or 0)
