"""Whether a corpus has changed enough since a model read it that another is to be trained."""

from typing import Any

from pydantic import Field

from data_quality.config import StrictModel
from tasks.stage import Work, sound_file, stage
from tasks.storage.files import read_json, write_json
from tasks.store import Artifact

DECISION = "decision.json"


class ChangeConfig(StrictModel):
    """From which change on."""

    above: float = Field(ge=0, description="Share of the bytes that the last model was trained on.")


@stage(version=1)
def corpus_change(work: Work, config: ChangeConfig, *, corpus: Artifact, split: Artifact, read: list[Artifact]) -> None:
    """Write decision.json: documents and bytes that are new, changed, gone, same; share; above; pretrain; reason.

    Args:
        corpus, split: the corpus as it is.
        read: corpus and split of the last model; empty if there is none, and then one is to be trained.
    """
    from data_quality.changes import changed_share

    if not read:
        found: dict[str, Any] = {"share": None, "above": config.above, "pretrain": True}
        found["reason"] = "no model of this corpus has been pretrained yet"
    else:
        corpus_before, split_before = read
        found = changed_share(
            ([s.path for s in corpus_before.shards()], split_before.file("split.parquet"), _training_bytes(read[1])),
            ([s.path for s in corpus.shards()], split.file("split.parquet")),
            scratch=work.scratch,
            memory_limit=work.resources.memory_limit,
            threads=work.resources.threads,
        )
        found |= {"above": config.above, "pretrain": found["share"] > config.above}
        said = f"{found['share']:.2%} of the bytes that the last model was trained on have changed"
        found["reason"] = f"{said}, {'more' if found['pretrain'] else 'not more'} than {config.above:.2%}"
    write_json(work.directory / DECISION, found)
    work.counts["pretrain"] = int(found["pretrain"])
    if found["share"] is not None:
        work.counts["share"] = found["share"]
        rows = [{"training documents": kind, **found[kind]} for kind in ("new", "changed", "gone", "same")]
        work.table("documents", rows, "Training documents beside those of the last model")
    work.markdown.append(("decision", markdown(found)))


def read_decision(artifact: Artifact) -> dict[str, Any]:
    """What the stage wrote."""
    return dict(read_json(sound_file(artifact, DECISION)))


def markdown(decision: dict[str, Any]) -> str:
    """The decision in a sentence, for Prefect."""
    return f"**{'Pretrain' if decision['pretrain'] else 'Do not pretrain'}**: {decision['reason']}."


def _training_bytes(split: Artifact) -> int:
    return int(split.counts().get("train_bytes") or 0)
