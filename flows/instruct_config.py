"""The configuration of instruction tuning: conversations, a model, and its training."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, model_validator

from flows.curation import Section
from flows.loading import CONFIGS, ConfigError, load
from lm.chat.config import ChatConfig
from lm.config import TrainConfig
from tasks.run import Resources

SMOKE_EXAMPLES = 32


class InstructConfig(Section):
    """A model and the conversations that it is to learn from."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", description="Name of runs: letters, digits, dashes, dots.")
    task: str | None = Field(
        default=None,
        description="A task's YAML file, or the name of a shipped one, of form `chat` or `generation`:"
        " `textmill task ls`.",
    )
    data: str | None = Field(default=None, description="Instead of it, a labelled set: the name of an artifact.")
    model: str | None = Field(
        default=None,
        description="Artifact (`pretrain/<key>`, an alias) or folder of the pretrained decoder, ours or a Hugging Face"
        " GPT.",
    )
    chat: ChatConfig = Field(default=ChatConfig(), description="What is learned, and how the model is looked at.")
    train: TrainConfig = Field(description="Budget, batch, optimiser, evaluation, checkpoints.")
    limits: dict[str, int] = Field(
        default={}, description="With `task`: examples of a split (`train`, `valid`, `test`) at most."
    )
    resources: Resources = Field(default=Resources(), description="What the machine gives; changes no result.")

    @model_validator(mode="after")
    def _one_set(self) -> "InstructConfig":
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
            raise ConfigError("nothing to learn: give --task NAME (`textmill task ls`) or --data ARTIFACT")
        return self.model, chosen

    def smoke(self) -> "InstructConfig":
        """The same with data and budget cut down so far that it ends in a minute; for tests."""
        limits = {} if self.task is None else {"train": SMOKE_EXAMPLES, "valid": SMOKE_EXAMPLES}
        chat = self.chat.model_copy(update={"answers": 4, "answer_tokens": 8, "samples": 1})
        raw = {"steps": 4, "tokens": None, "epochs": None, "batch": 4, "eval_sequences": 4, "eval_interval": 2}
        train = TrainConfig.model_validate({**self.train.model_dump(), **raw})
        return self.model_copy(update={"limits": limits, "chat": chat, "train": train})


def load_instruct(path: Path, overrides: Mapping[str, str] | None = None) -> InstructConfig:
    """Read the YAML file of an instruction tuning and apply `--set` overrides.

    Raises:
        ConfigError: as `flows.loading.load` does.
    """
    return load(path, overrides, InstructConfig)


def shipped_instruct() -> InstructConfig:
    """What the flow runs when nothing else is said; it needs a model and a task."""
    return load_instruct(CONFIGS / "instruct" / "chat.yaml")
