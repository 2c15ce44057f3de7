"""The classification set "which library does this paragraph document?", from the corpus and its own split."""

from pathlib import Path
from typing import Any

from data_quality.config import LabelledConfig
from lm.labelled.folder import Task, write_task
from lm.labelled.forms import Classification
from tasks.running.parts import build_parts, one_table, shard_parts
from tasks.stage import Work, stage
from tasks.store import Artifact

SPLITS = ("train", "valid", "test")
CHOICE = ("per_class", "per_class_eval")  # what chooses among the candidates and changes none


@stage(version=2)
def labelled(work: Work, config: LabelledConfig, *, corpus: Artifact, split: Artifact) -> None:
    """Write train.parquet, valid.parquet and test.parquet: masked paragraphs with their label; a labelled set."""
    from data_quality.labelled import select_labelled

    candidates = config.model_dump(mode="json", exclude=set(CHOICE))
    parts = build_parts(work, "labelled.shard", 2, candidates_part, shard_parts(corpus, config, candidates))
    counts = select_labelled(
        [part.path / "candidates.parquet" for part in parts],
        split.file("split.parquet"),
        work.directory,
        config,
        work.scratch / "spill",
        work.resources.memory_limit,
        work.resources.threads,
    )
    ask = Classification(classes=tuple(c.name for c in config.classes))
    write_task(work.directory, Task(name="which-library", ask=ask, metrics=ask.default_metrics()))
    work.counts = {name: value for name, value in counts.items() if isinstance(value, int | float)}
    rows = [{"library": c.name, **{name: counts[f"{name}_classes"][c.name] for name in SPLITS}} for c in config.classes]
    work.table("examples", rows, "Labelled paragraphs of each library, by split")


def candidates_part(directory: Path, shard: str, config: LabelledConfig) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.labelled import labelled_candidates

    out = directory / "candidates.parquet"
    return one_table(out, labelled_candidates(Path(shard), out, config))
