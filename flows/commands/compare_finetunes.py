"""`textmill compare A B` for two fine-tunings: every metric of their task, on the examples that both answered."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.config.loading import ConfigError
from lm.finetune.predictions import PREDICTIONS_FILE, Predictions, compare, read_predictions
from tasks.store import Store

SPLITS = ("valid", "test")
SUMMARY_STAGE, RUN_STAGES = "finetune_summary", ("finetune", "bag_of_words")


@dataclass(frozen=True)
class Finetuning:
    """What a name means, and the predictions of each of its runs."""

    name: str
    files: list[Path]

    def first(self, split: str) -> Predictions | None:
        """What the first run says of a split; None if it was not asked."""
        try:
            return read_predictions(self.files[0], split)
        except ValueError:
            return None


def finetuning_of(store: Store, name: str) -> Finetuning | None:
    """The fine-tuning of a name: one run, or all that a summary is of; None for what is none.

    Raises:
        StoreError: there is no such artifact.
        ConfigError: the runs of a summary are no longer in the store.
    """
    if Path(name).is_dir():
        file = Path(name) / PREDICTIONS_FILE
        return Finetuning(name, [file]) if file.exists() else None
    artifact = store.checked(name)
    if artifact.stage in RUN_STAGES:
        return Finetuning(artifact.name, [artifact.file(PREDICTIONS_FILE)])
    if artifact.stage != SUMMARY_STAGE:
        return None
    files = []
    for entry in artifact.manifest()["inputs"]["runs"]:
        run = store.find(entry["stage"], entry["key"])
        if run is None:
            raise ConfigError(f"{artifact.name}: its run {entry['stage']}/{entry['key'][:8]} is no longer in the store")
        files.append(run.file(PREDICTIONS_FILE))
    return Finetuning(artifact.name, files)


def compare_finetunes(first: Finetuning, second: Finetuning) -> dict[str, Any]:
    """Compare all runs of one with all of the other.

    Returns first, second, task and `comparisons`, one for each split and metric: split, metric, items, and what
    `lm.finetune.predictions.compare` says (first and second: mean, sd, low, high, seeds; difference: value, low, high,
    p_value).

    Raises:
        ConfigError: they were not asked the same.
    """
    asked = {split: (first.first(split), second.first(split)) for split in SPLITS}
    both = {split: (a, b) for split, (a, b) in asked.items() if a is not None and b is not None}
    if not both:
        raise ConfigError(f"{first.name} and {second.name} share no split: fine-tune both on one set")
    for split, (a, b) in both.items():
        if said := _unlike(a, b):
            raise ConfigError(
                f"{first.name} and {second.name} cannot be compared, {said} in {split}: fine-tune both on one set"
            )
    task = next(iter(both.values()))[0].task
    return {
        "first": first.name,
        "second": second.name,
        "task": task.name,
        "comparisons": [
            {"split": split, "metric": name, "items": len(a.rows), **compare(first.files, second.files, split, name)}
            for split, (a, _) in both.items()
            for name in task.metrics
        ],
    }


def _unlike(first: Predictions, second: Predictions) -> str | None:
    """In which way two were not asked the same; None if they were."""
    a, b = first.task, second.task
    if a.ask != b.ask:
        return f"{a.name} ({a.ask.form}) and {b.name} ({b.ask.form}) do not ask the same"
    if first.ids != second.ids:
        shared = len(set(first.ids) & set(second.ids))
        return f"they share {shared:,} of {len(first.ids):,} and {len(second.ids):,} examples"
    other = sum(x["label"] != y["label"] for x, y in zip(first.rows, second.rows, strict=True))
    return f"{other:,} of {len(first.ids):,} examples have other labels" if other else None
