"""The configuration of a fine-tuning: a task, a model, settings and seeds."""

from typing import Any

from pydantic import Field, model_validator

from flows.config.learning import SMOKE_EXAMPLES, LearningConfig
from flows.config.loading import loader, shipped
from flows.config.seeds import Seeds
from lm.finetune.config import FinetuneConfig
from lm.finetune.presets import FINETUNE_PRESETS, finetune_preset


class TuningConfig(LearningConfig):
    """A model and what it is to learn, over several seeds."""

    preset: str = Field(default="small-gpt", description=f"Settings to begin with: {', '.join(FINETUNE_PRESETS)}.")
    settings: FinetuneConfig = Field(default=FinetuneConfig(), description="What differs from the preset.")
    seeds: Seeds = Field(default=(0, 1, 2), description="One run for each.")
    serve: bool = Field(
        default=True, description="Whether the best run is registered in MLflow, to be served; never with `--smoke`."
    )

    @model_validator(mode="before")
    @classmethod
    def _preset_below_settings(cls, raw: Any) -> Any:
        """`settings` says what differs."""
        if not isinstance(raw, dict) or isinstance(raw.get("settings"), FinetuneConfig):
            return raw
        chosen = finetune_preset(raw.get("preset", "small-gpt"))
        return {**raw, "settings": {**chosen.model_dump(), **(raw.get("settings") or {})}}

    def smoke(self) -> "TuningConfig":
        """The same with data and budget cut down so far that it ends in a minute; for tests."""
        limits = {} if self.task is None else dict.fromkeys(("train", "valid", "test"), SMOKE_EXAMPLES)
        settings = self.settings.model_copy(update={"epochs": 1.0, "evaluations": 1})
        return self.model_copy(update={"seeds": self.seeds[:1], "limits": limits, "settings": settings, "serve": False})


load_tuning = loader(TuningConfig)


shipped_tuning = shipped(load_tuning, "finetune/small-bert.yaml")
"""What the flow runs when nothing else is said; it needs a model and a task."""
