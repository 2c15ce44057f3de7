"""The classification set "which library does this paragraph document?", from the corpus and its own split."""

from pathlib import Path
from typing import Any

from data_quality.config import LabelledConfig
from tasks.parts import build_parts, shard_parts
from tasks.signals import one_table
from tasks.stage import Work, stage
from tasks.store import Artifact

SPLITS = ("train", "valid", "test")


@stage(version=1)
def labelled(work: Work, config: LabelledConfig, *, corpus: Artifact, split: Artifact) -> None:
    """Write train.parquet, valid.parquet and test.parquet: masked paragraphs with their label."""
    import pyarrow.parquet as pq

    from data_quality.labelled import near_leak, select_labelled

    parts = build_parts(work, "labelled.shard", 1, candidates_part, shard_parts(corpus, config))
    counts = select_labelled(
        [part.path / "candidates.parquet" for part in parts], split.file("split.parquet"), work.directory, config
    )
    texts = {name: pq.read_table(work.directory / f"{name}.parquet")["text"].to_pylist() for name in SPLITS}
    work.counts = {name: value for name, value in counts.items() if isinstance(value, int | float)}
    work.counts["near_leak"] = near_leak(texts["train"], texts["test"])
    rows = [{"library": c.name, **{name: counts[f"{name}_classes"][c.name] for name in SPLITS}} for c in config.classes]
    work.table("examples", rows, "Labelled paragraphs of each library, by split")


def candidates_part(directory: Path, shard: str, config: LabelledConfig) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.labelled import labelled_candidates

    out = directory / "candidates.parquet"
    return one_table(out, labelled_candidates(Path(shard), out, config))
