"""The configuration of instruction tuning: conversations, a model, and its training."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from flows.learning_config import SMOKE_EXAMPLES, LearningConfig
from flows.loading import CONFIGS, load
from lm.chat.config import ChatConfig
from lm.config import TrainConfig


class InstructConfig(LearningConfig):
    """A model and the conversations that it is to learn from."""

    chat: ChatConfig = Field(default=ChatConfig(), description="What is learned, and how the model is looked at.")
    train: TrainConfig = Field(description="Budget, batch, optimiser, evaluation, checkpoints.")

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
