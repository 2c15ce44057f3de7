"""The configuration of a fine-tuning: a task, a model, settings and seeds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from flows.curation import Section
from flows.loading import CONFIGS, ConfigError, load
from lm.finetune.config import FinetuneConfig
from lm.finetune.presets import FINETUNE_PRESETS, finetune_preset
from tasks.run import Resources

SMOKE_EXAMPLES = 32


class TuningConfig(Section):
    """A model and what it is to learn, over several seeds."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", description="Name of runs: letters, digits, dashes, dots.")
    task: str | None = Field(
        default=None,
        description="A task's YAML file, or the name of a shipped one (`sst-2`, `local/sst-2`): `textmill task ls`.",
    )
    data: str | None = Field(
        default=None, description="Instead of it, a labelled set: the name of an artifact, or a folder."
    )
    model: str | None = Field(
        default=None,
        description="Artifact (`pretrain/<key>`, an alias) or folder of the pretrained model, ours or one of Hugging"
        " Face.",
    )
    preset: str = Field(default="small-gpt", description=f"Settings to begin with: {', '.join(FINETUNE_PRESETS)}.")
    settings: FinetuneConfig = Field(default=FinetuneConfig(), description="What differs from the preset.")
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1, description="One run for each.")
    limits: dict[str, int] = Field(
        default={}, description="With `task`: examples of a split (`train`, `valid`, `test`) at most."
    )
    resources: Resources = Field(default=Resources(), description="What the machine gives; changes no result.")

    @model_validator(mode="before")
    @classmethod
    def _preset_below_settings(cls, raw: Any) -> Any:
        """`settings` says what differs."""
        if not isinstance(raw, dict) or isinstance(raw.get("settings"), FinetuneConfig):
            return raw
        chosen = finetune_preset(raw.get("preset", "small-gpt"))
        return {**raw, "settings": {**chosen.model_dump(), **(raw.get("settings") or {})}}

    @model_validator(mode="after")
    def _one_set(self) -> "TuningConfig":
        if self.task is not None and self.data is not None:
            raise ValueError("give either task or data, not both")
        if self.limits and self.task is None:
            raise ValueError("limits are for a task; a labelled set is taken as it is")
        return self

    def needed(self) -> tuple[str, str]:
        """The model, and the task or data. Raises ConfigError for what is not said."""
        if self.model is None:
            raise ConfigError("no model: give --model NAME (an artifact, an alias or a folder), or set `model`")
        if (chosen := self.task or self.data) is None:
            raise ConfigError("nothing to learn: give --task NAME (`textmill task ls`) or --data FOLDER")
        return self.model, chosen

    def smoke(self) -> "TuningConfig":
        """The same with data and budget cut down so far that it ends in a minute; for tests."""
        limits = {} if self.task is None else dict.fromkeys(("train", "valid", "test"), SMOKE_EXAMPLES)
        settings = self.settings.model_copy(update={"epochs": 1.0, "evaluations": 1})
        return self.model_copy(update={"seeds": self.seeds[:1], "limits": limits, "settings": settings})


def load_tuning(path: Path, overrides: Mapping[str, str] | None = None) -> TuningConfig:
    """Read a fine-tuning's YAML file and apply `--set` overrides.

    Raises:
        ConfigError: as `flows.loading.load` does.
    """
    return load(path, overrides, TuningConfig)


def task_file(name: str) -> Path:
    """A task's YAML file by path or by the name of a shipped one. Raises ConfigError with the shipped ones."""
    shipped = CONFIGS / "tasks"
    for path in (Path(name), shipped / f"{name}.yaml"):
        if path.is_file():
            return path
    names = ", ".join(str(p.relative_to(shipped).with_suffix("")) for p in sorted(shipped.rglob("*.yaml")))
    raise ConfigError(f"task: {name} is no file and no shipped task; there are {names}")


def shipped_tuning() -> TuningConfig:
    """What the flow runs when nothing else is said; it needs a model and a task."""
    return load_tuning(CONFIGS / "finetune" / "small-bert.yaml")
