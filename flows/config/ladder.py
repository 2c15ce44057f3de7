"""The configuration of a ladder: one corpus, one tokenizer, one budget, and the models to be compared."""

from abc import ABC, abstractmethod
from typing import Any, Self, get_args

from pydantic import Field, model_validator

from flows.config.loading import loader, shipped
from flows.config.pipeline import TokensConfig
from flows.config.rungs import TOKENIZERS, GPTRung, ModernRung, Rung, TrainedRung, without_bits
from lm.config import TrainConfig
from lm.parallel import ParallelConfig
from lm.translator_config import EncoderDecoderConfig
from tasks.evaluate import EvaluateConfig

SMOKE_FILES = 300  # no classes have to be found among them, as a pipeline's smoke run must
TRANSLATORS = tuple(kind.model_fields["kind"].default for kind in get_args(get_args(EncoderDecoderConfig)[0]))
"""Kinds that are trained on pairs of texts, by another command."""


class ModelsConfig(TokensConfig, ABC):
    """From raw text to models: what they all share."""

    train: TrainConfig = Field(
        description="Budget, batch, optimiser: the same for every model with gradients, but for a rate of its own."
    )
    context: int = Field(default=128, ge=2, description="Tokens of the test sequences; no model sees more at once.")
    evaluate: EvaluateConfig = Field(default=EvaluateConfig(), description="How much of the test documents is scored.")
    prompt: str = Field(default="", description="What each model goes on from, for the sample beside its figures.")

    @abstractmethod
    def rungs(self) -> dict[str, Rung]:
        """The models by name."""

    @property
    def initial(self) -> str | None:
        """The model that training goes on from, by name."""
        return None

    @property
    def parallel(self) -> ParallelConfig:
        """How many processes share the training of each model: of a ladder's, which are small, one."""
        return ParallelConfig()

    @abstractmethod
    def key(self, name: str) -> str:
        """Where the file has the model of that name."""

    @model_validator(mode="before")
    @classmethod
    def _no_translator(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if "translator" in given or "pairs" in given:
            raise ValueError(
                "`translator` and `pairs` are of a model that is trained on pairs of texts: `textmill train-translator`"
                " takes this file"
            )
        models = given.get("models")
        named = {
            "model": given.get("model"),
            **{f"models.{name}": of for name, of in (models if isinstance(models, dict) else {}).items()},
        }
        for key, model in named.items():
            if isinstance(model, dict) and model.get("kind") in TRANSLATORS:
                raise ValueError(
                    f"{key}.kind: a {model['kind']} is trained on pairs of texts: `textmill train-translator`"
                    " (configs/translation has files for it)"
                )
        return given

    @model_validator(mode="after")
    def _every_model_fits(self) -> Self:
        kind = self.tokenizer.train.kind
        for name, rung in self.rungs().items():
            if (fitting := TOKENIZERS.get(type(rung))) and kind not in fitting:
                raise ValueError(
                    f"{self.key(name)}: a model of kind {rung.kind} needs a tokenizer of kind {' or '.join(fitting)}, "
                    f"not {kind} (`tokenizer.train`)"
                )
            if isinstance(rung, GPTRung | ModernRung) and (own := rung.resolved(vocab=257).context) < self.context:
                raise ValueError(
                    f"{self.key(name)}: its context of {own} tokens is less than the {self.context} of the test "
                    "sequences (`context`)"
                )
        return self

    def smoke(self) -> Self:
        """The same with data and budget cut down so far that it ends in a minute; for tests."""
        raw = self.model_dump()
        raw["max_files"] = SMOKE_FILES
        raw["tokenizer"]["pin"] = None
        raw["tokenizer"]["train"]["vocab_size"] = min(512, self.tokenizer.train.vocab_size)
        raw["train"] |= {"steps": 6, "tokens": None, "epochs": None, "eval_sequences": 4}
        raw["train"]["batch"] = self.parallel.least_batch(4)
        raw["context"] = min(64, self.context)
        raw["evaluate"]["sequences"] = 4
        return self.model_validate(self.with_smaller(raw))

    @abstractmethod
    def with_smaller(self, raw: dict[str, Any]) -> dict[str, Any]:
        """`raw` with each model cut down."""


class LadderConfig(ModelsConfig):
    """Models of several generations on one table."""

    models: dict[str, Rung] = Field(min_length=1, description="What is trained, by the name it gets on the table.")

    @model_validator(mode="after")
    def _every_model_has_a_place_on_the_table(self) -> Self:
        for name, rung in self.models.items():
            if why := without_bits(rung):
                raise ValueError(
                    f"{self.key(name)}: {why}, so it has no place on a table of bits per byte: train it with"
                    " `textmill pretrain`"
                )
        return self

    def rungs(self) -> dict[str, Rung]:
        return self.models

    def key(self, name: str) -> str:
        return f"models.{name}"

    def with_smaller(self, raw: dict[str, Any]) -> dict[str, Any]:
        return {**raw, "models": {name: rung.smaller().model_dump() for name, rung in self.models.items()}}


class ModelConfig(ModelsConfig, ParallelConfig):
    """One model of any kind."""

    model: Rung = Field(description="What is trained.")
    init_from: str | None = Field(
        default=None,
        description="Artifact (`pretrain/<key>`, an alias) or folder of a model of the same kind to go on from, with"
        " its sizes and its tokenizer: continued pretraining, such as ULMFiT's second stage. null: random weights.",
    )

    @model_validator(mode="after")
    def _can_be_gone_on_from(self) -> Self:
        if self.init_from is not None and not isinstance(self.model, TrainedRung):
            raise ValueError(
                f"init_from: a model of kind {self.model.kind} is made anew from all its text: leave it out"
            )
        return self

    @model_validator(mode="after")
    def _can_be_shared(self) -> Self:
        if isinstance(self.model, TrainedRung):
            settings = self.model.pretraining(self.tokenizer.train.vocab_size)
            self.require_shareable(settings, self.model.trained_with(self.train))
        elif self.ranks > 1:
            raise ValueError(
                f"processes, nodes: a model of kind {self.model.kind} has a loop of its own, in one process: leave them"
                " out"
            )
        return self

    @property
    def initial(self) -> str | None:
        return self.init_from

    @property
    def parallel(self) -> ParallelConfig:
        return ParallelConfig.part_of(self)

    def rungs(self) -> dict[str, Rung]:
        return {self.name: self.model}

    def key(self, name: str) -> str:
        return "model"

    def with_smaller(self, raw: dict[str, Any]) -> dict[str, Any]:
        return {**raw, "model": self.model.smaller().model_dump()}


load_ladder = loader(LadderConfig)


load_model_config = loader(ModelConfig)


shipped_ladder = shipped(load_ladder, "ladder.yaml")
"""What the deployment runs when nothing else is said."""


shipped_model = shipped(load_model_config, "models/gpt2.yaml")
"""What the deployment of one model runs when nothing else is said."""
