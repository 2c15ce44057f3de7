"""What all configurations say that teach a pretrained model something: the model, and the examples."""

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from flows.config.curation import Section
from flows.config.loading import ConfigError
from tasks.running.run import Resources

SMOKE_EXAMPLES = 32
"""Of a split, in a smoke run."""


class LearningConfig(Section):
    """A model and what it is to learn."""

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
    limits: dict[Literal["train", "valid", "test"], PositiveInt] = Field(
        default={}, description="With `task`: examples of a split (`train`, `valid`, `test`) at most."
    )
    resources: Resources = Field(default=Resources(), description="What the machine gives; changes no result.")

    @model_validator(mode="after")
    def _one_set(self) -> Self:
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
