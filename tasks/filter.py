"""Judge every document by the rules, and write the corpus twice: what is kept, and what is dropped with its reasons.

Judging reads signals only, so another threshold costs no pass over the text. Between the two, `decide` puts the tables
of all steps together. The two views are written once, at the end, and this is where every span leaves the text: lines
that rulesets edit, boilerplate, personal data, contamination.
"""

import hashlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_quality.config import DocumentList, StrictModel
from data_quality.hashing import combine_digests
from data_quality.rules import Ruleset
from tasks.decide import CUT
from tasks.running.hint import earlier_result
from tasks.running.parts import Part, build_parts, made_of, one_table, tables_beside
from tasks.running.tables import score_tables
from tasks.stage import NoConfig, Work, stage
from tasks.storage.files import canonical_json, read_json, write_json
from tasks.store import SCRATCH_DIRECTORY, Artifact

if TYPE_CHECKING:
    import pyarrow as pa


KEPT, DROPPED = "kept.parquet", "dropped.parquet"
COUNTS = "counts.json"
VERSION = 8  # of the views, and of the corpus that is made of them


class JudgeRequest(StrictModel):
    """The rules themselves, thresholds overridden: what decides a verdict, rather than the names of files."""

    rulesets: tuple[Ruleset, ...]
    keep: DocumentList = DocumentList()
    drop: DocumentList = DocumentList()


@stage(version=3)
def judge(work: Work, config: JudgeRequest, *, signals: Artifact, scores: list[Artifact]) -> None:
    """Give every document all reasons for which the rules would drop it: a table for each shard of signals.

    Args:
        scores: further tables of numbers by id (classifier, perplexity), which rules name like signals.
    """
    rules = hashlib.sha256(canonical_json(config.model_dump(mode="json"))).hexdigest()
    cut = made_of(signals)
    beside = [tables_beside(cut, artifact) for artifact in scores]
    parts = []
    for number, (shard, documents) in enumerate(zip(signals.shards(), cut, strict=True)):
        numbers = [found[number] for found in beside]
        material = {"shard": documents, "rules": rules, "signals": shard.digest, "scores": [key for key, _ in numbers]}
        parts.append(Part(material, (str(shard.path), config, [paths for _, paths in numbers])))
    found = [
        read_json(part.path / COUNTS) for part in build_parts(work, "judge.shard", 1, judge_part, parts, light=True)
    ]
    unmatched = _in_all([each["unmatched"] for each in found])
    if unmatched:
        work.counts["unmatched"] = len(unmatched)
        work.table("unmatched", unmatched, "Entries of the keep- and drop-list that no document has")
    rows = [
        {
            "reason": reason,
            "documents": sum(each["reasons"].get(reason, 0) for each in found),
            "as first reason": sum(each["first_reasons"].get(reason, 0) for each in found),
        }
        for reason in dict.fromkeys(chain.from_iterable(each["reasons"] for each in found))
    ]
    work.table("reasons", rows, "Documents that each rule would drop; one document may have several reasons")


def judge_part(directory: Path, signals: str, config: JudgeRequest, scores: Sequence[Sequence[str]]) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.judge import judge as judge_signals

    out = directory / "verdicts.parquet"
    counts = judge_signals(
        [Path(signals)],
        config.rulesets,
        out,
        score_paths=[[Path(path) for path in paths] for paths in scores],
        keep=config.keep,
        drop=config.drop,
        scratch=directory / SCRATCH_DIRECTORY / "spill",
    )
    write_json(directory / COUNTS, {name: counts[name] for name in ("reasons", "first_reasons", "unmatched")})
    return one_table(out, {"documents": counts["documents"], "passed": counts["passed"]})


def unmatched_entries(verdicts: Artifact) -> list[dict[str, str]]:
    """The entries of the keep- and drop-list that no document has (list, field, entry), of what `judge` made."""
    if not verdicts.counts().get("unmatched"):
        return []
    return _in_all([read_json(part / COUNTS)["unmatched"] for part in verdicts.part_directories()])


def _in_all(entries: Sequence[list[dict[str, str]]]) -> list[dict[str, str]]:
    """The entries that every list has, in the order of the first; a list of documents may have a million."""
    first, *others = entries
    everywhere = {tuple(entry.values()) for entry in first}
    for other in others:
        everywhere.intersection_update(tuple(entry.values()) for entry in other)
    return [entry for entry in first if tuple(entry.values()) in everywhere]


@stage(version=VERSION)
def filter_corpus(
    work: Work, config: NoConfig, *, corpus: Artifact, decisions: Artifact, measured: list[Artifact]
) -> None:
    """Write the two views of every shard: kept.parquet and dropped.parquet. The digest is that of what is kept.

    A shard whose documents and decisions are those of an earlier corpus is found, not written. The views are cut as the
    decisions are. As a rule that is how the corpus is cut; the same documents may since have been cut otherwise, and
    then each table looks its documents up in all of them.

    An earlier corpus is also where a shard is taken from as far as its decisions are the same. It is no input and not
    in the key: with it or without it, the files are the same.

    Args:
        measured: signals and scores, which the dropped documents get beside their decision.
    """
    shards, tables = corpus.shards(), decisions.shards()
    cut = [shard.digest for shard in shards]
    if read_json(decisions.file(CUT)) == cut:
        looked_up = [(shard.digest, [str(shard.path)]) for shard in shards]
        beside = [tables_beside(cut, artifact) for artifact in measured]
        earlier = _earlier_views(work, corpus)
    else:
        earlier = {}
        looked_up = [(corpus.digest, [str(shard.path) for shard in shards])] * len(tables)
        beside = [[(a.digest, [str(path) for path in score_tables(a)])] * len(tables) for a in measured]
    parts = []
    for number, (digest, paths) in enumerate(looked_up):
        numbers = [found[number] for found in beside]
        made_of_these = {"documents": digest, "measured": [key for key, _ in numbers]}
        before = earlier.get(canonical_json(made_of_these))
        material = {**made_of_these, "decisions": tables[number].digest}
        parts.append(Part(material, (paths, str(tables[number].path), [path for _, path in numbers], before)))
    views = build_parts(work, "filter.shard", VERSION, filter_shard, parts, light=True)
    work.digest = combine_digests(view.digest for view in views)


def filter_shard(
    directory: Path,
    documents: Sequence[str],
    decisions: str,
    measured: Sequence[Sequence[str]],
    earlier: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """One shard, in a worker.

    Args:
        earlier: where views of the same documents and numbers are, and the decisions by which they were written.
    """
    from data_quality.documents import documents_digest
    from data_quality.views import Views, write_views

    shards = [Path(shard) for shard in documents]
    numbers = [[Path(path) for path in paths] for paths in measured]
    counts: dict[str, int] = {}
    digest, views = "", None
    if earlier is not None:
        before, its_decisions = map(Path, earlier)
        manifest = read_json(before / "manifest.json")
        counts, digest = manifest["counts"], manifest["digest"]
        views = Views(before / KEPT, before / DROPPED, its_decisions)
    kept, dropped = write_views(shards, Path(decisions), directory / KEPT, directory / DROPPED, numbers, views)
    if kept is not None:
        counts |= {"documents": kept.num_rows, "bytes": _text_bytes(kept)}
        digest = documents_digest(kept)
    if dropped is not None:
        counts |= {"dropped": dropped.num_rows, "dropped_bytes": _text_bytes(dropped)}
    of_kept = {name: counts[name] for name in ("documents", "bytes")}
    return {"counts": counts, "shards": [{"path": KEPT, "digest": digest, "counts": of_kept}], "digest": digest}


def _earlier_views(work: Work, corpus: Artifact) -> dict[bytes, tuple[str, str]]:
    """Where views are, and where the decisions by which they were written, by what else they were made of: those of
    the earlier corpus that has most in common with this one."""
    if work.resources.runner == "dask" or work.store.url:  # what is not on the machine would have to be fetched
        return {}
    found = earlier_result(work, filter_corpus.name, VERSION, {}, like=corpus, least=1)
    if found is None:
        return {}
    [made] = found.manifest()["inputs"]["decisions"]
    decisions = work.store.find(made["stage"], made["key"])
    # those that were made anew since, by other libraries, may be other ones
    if decisions is None or decisions.digest != made["digest"] or not work.store.verify(decisions):
        return {}
    tables = {shard.digest: str(shard.path) for shard in decisions.shards()}
    earlier = {}
    for part in found.part_directories():
        made_of_these = read_json(part / "manifest.json")["config"]
        table = tables.get(made_of_these.pop("decisions"))
        if table is not None:
            earlier[canonical_json(made_of_these)] = (str(part), table)
    return earlier


def kept_tables(filtered: Artifact) -> list[Path]:
    """The documents of a filtered corpus, shard by shard."""
    return [shard.path for shard in filtered.shards()]


def dropped_tables(filtered: Artifact) -> list[Path]:
    """The documents that it dropped, with their decisions, shard by shard."""
    return [path.with_name(DROPPED) for path in kept_tables(filtered)]


def _text_bytes(documents: "pa.Table") -> int:
    import pyarrow.compute as pc

    return int(pc.sum(pc.binary_length(documents["text"])).as_py() or 0)
