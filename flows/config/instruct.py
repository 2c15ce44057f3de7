"""The configuration of instruction tuning: conversations, a model, and its training."""

from pydantic import Field

from flows.config.learning import SMOKE_EXAMPLES, LearningConfig
from flows.config.loading import loader, shipped
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


load_instruct = loader(InstructConfig)


shipped_instruct = shipped(load_instruct, "instruct/chat.yaml")
"""What the flow runs when nothing else is said; it needs a model and a task."""
