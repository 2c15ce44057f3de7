"""The configuration of a scaling study: one corpus, one kind of model, sizes and budgets, and a larger model."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from flows.config.ladder import SMOKE_FILES
from flows.config.loading import loader, shipped
from flows.config.pipeline import TokensConfig
from flows.config.rungs import GPTRung, ModernRung
from lm.config import StrictModel, TrainConfig
from lm.flops import body_parameters
from tasks.evaluate import EvaluateConfig

LARGER = 4.0
"""A prediction is one only where nothing near was measured: so many times the largest fitted size, at least."""

Decoder = Annotated[GPTRung | ModernRung, Field(discriminator="kind")]


class SizeConfig(StrictModel):
    """The size of one model."""

    layers: int = Field(ge=1, description="Transformer blocks.")
    width: int = Field(ge=1, description="Width of the residual stream.")
    heads: int | None = Field(default=None, ge=1, description="Null: width / `head_width`, at least 1.")


class TargetConfig(SizeConfig):
    """The larger model whose loss is predicted before it is trained."""

    tokens: int | None = Field(default=None, ge=1, description="Tokens that it reads; null: the largest budget.")


class RateConfig(StrictModel):
    """The peak learning rate of each size: value * (at_width / width) ** power, at most `most`."""

    value: float = Field(gt=0, description="The rate at `at_width`.")
    at_width: int = Field(default=64, ge=1, description="Where it is `value`.")
    power: float = Field(default=0.5, ge=0, description="How fast it falls with the width.")
    most: float = Field(default=1.0, gt=0, description="No width has more.")

    def at(self, width: int) -> float:
        """The rate of a width."""
        return min(self.most, self.value * (self.at_width / width) ** self.power)


class GridConfig(StrictModel):
    """Size of model against size of data: each size on each text, all reading as much."""

    sizes: tuple[SizeConfig, ...] = Field(min_length=2, description="Sizes of the models.")
    texts: tuple[int, ...] = Field(min_length=2, description="Tokens of the texts, cut from the training documents.")
    tokens: int = Field(ge=1, description="Tokens that each model reads; a short text is read again and again.")


class ScalingConfig(TokensConfig):
    """Loss against parameters, data and compute, and a larger model predicted from smaller ones."""

    model: Decoder = Field(description="What is trained; its layers, width and heads are those of `sizes`.")
    sizes: tuple[SizeConfig, ...] = Field(min_length=3, description="The models that laws are fitted to.")
    head_width: int = Field(default=32, ge=1, description="Of sizes that name no heads.")
    budgets: tuple[int, ...] = Field(
        min_length=3, description="Tokens that each size reads, each budget a training with a schedule of its own."
    )
    target: TargetConfig = Field(description="The larger model.")
    rate: RateConfig | None = Field(
        default=None, description="The learning rate by width; null: that of `train`, or of the modern decoder."
    )
    factors: tuple[float, ...] = Field(
        default=(1.0,),
        min_length=1,
        description="Each size is trained at its rate times each of these at every budget, and the best on validation"
        " text counts; the target and the grid have the factor that was best for the largest size and budget.",
    )
    train: TrainConfig = Field(
        default=TrainConfig(tokens=1), description="Batch, optimiser, schedule. Tokens are those of `budgets`."
    )
    evaluate: EvaluateConfig = Field(default=EvaluateConfig(), description="How much of the test documents is scored.")
    count: Literal["body", "all"] = Field(
        default="body", description="What N counts: parameters without embeddings and head (Kaplan), or all (Hoffmann)."
    )
    huber: float = Field(default=1e-3, gt=0, description="L(N, D): log losses further off count by distance alone.")
    confidence: float = Field(default=0.95, gt=0, lt=1, description="Of the intervals.")
    resamples: int = Field(default=500, ge=20, description="Of the bootstrap.")
    grid: GridConfig | None = Field(default=None, description="Size of model against size of data; null: none.")

    @model_validator(mode="before")
    @classmethod
    def _budgets_say_how_long(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and isinstance(train := raw.get("train"), dict):
            given = [name for name in ("steps", "tokens", "epochs") if train.get(name) is not None]
            if given not in ([], ["tokens"]) or train.get("tokens", 1) not in (None, 1):
                raise ValueError(f"train.{given[0]}: `budgets` say how long a scaling study trains")
            return {**raw, "train": {**train, "tokens": 1}}
        return raw

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        cells = self.grid.sizes if self.grid else ()
        named = {f"sizes.{i}": size for i, size in enumerate(self.sizes)}
        named |= {f"grid.sizes.{i}": size for i, size in enumerate(cells)} | {"target": self.target}
        bodies = {}
        for key, size in named.items():
            try:
                bodies[key] = self.body(size)
            except ValueError as error:
                raise ValueError(f"{key}: {_first(error)}") from error
        largest = max(body for key, body in bodies.items() if key.startswith("sizes"))
        if (times := bodies["target"] / largest) < LARGER:
            raise ValueError(
                f"target: {bodies['target']:,} parameters without embeddings are {times:.2f} times the largest of "
                f"`sizes` ({largest:,}): a prediction is worth something from {LARGER:g} times on"
            )
        if len({body for key, body in bodies.items() if key.startswith("sizes")}) < 3 or len(set(self.budgets)) < 3:
            raise ValueError("sizes, budgets: a law needs at least three that differ")
        if self.rate is not None and isinstance(self.model, ModernRung) and self.model.optimizer is not None:
            raise ValueError(
                "rate: the modern decoder has its own optimiser: set model.optimizer, or null it for that of `train`"
            )
        if self.factors != (1.0,) and self.rate is None and self._own() is None:
            raise ValueError("factors: times what? Set `rate`, model.learning_rate or train.optimizer.learning_rate")
        return self

    def body(self, size: SizeConfig) -> int:
        """Parameters of a size without embeddings and head. Raises ValueError for what is no model."""
        return body_parameters(self.rung(size).resolved(vocab=257))

    def _own(self) -> Any:
        if isinstance(self.model, ModernRung) and self.model.optimizer is not None:
            return self.model.optimizer.learning_rate
        given = self.model.learning_rate or self.train.optimizer.learning_rate
        return None if given == "auto" else given

    def rung(self, size: SizeConfig, factor: float = 1.0) -> GPTRung | ModernRung:
        """The model of a size, at its rate times a factor."""
        heads = size.heads or max(1, size.width // self.head_width)
        raw = {**self.model.model_dump(), "layers": size.layers, "width": size.width, "heads": heads}
        if isinstance(self.model, ModernRung) and (own := self.model.optimizer) is not None:
            scaled = {"learning_rate": own.learning_rate, "muon_rate": own.muon_rate}
            raw["optimizer"] |= {name: v * factor for name, v in scaled.items() if not isinstance(v, str)}
        elif self.rate is not None:
            raw["learning_rate"] = self.rate.at(size.width) * factor
        elif factor != 1.0:
            raw["learning_rate"] = self._own() * factor
        return type(self.model).model_validate(raw)

    def trained_for(self, tokens: int) -> TrainConfig:
        """The training of one budget."""
        return self.train.model_copy(update={"tokens": tokens})

    def target_tokens(self) -> int:
        """What the target reads, rounded up to whole steps as the budgets are."""
        context = self.rung(self.target).resolved(vocab=257).context
        return (
            self.trained_for(self.target.tokens or max(self.budgets)).total_steps(0, context)
            * self.train.batch
            * context
        )

    def smoke(self) -> Self:
        """The same with data and budget cut down so far that it ends in a minute; for tests."""
        raw = self.model_dump()
        raw["max_files"] = SMOKE_FILES
        raw["tokenizer"]["pin"] = None
        raw["tokenizer"]["train"]["vocab_size"] = min(512, self.tokenizer.train.vocab_size)
        raw["model"] |= {"context": 32}
        raw["sizes"] = raw["sizes"][:3]
        raw["budgets"] = [128, 256, 384]
        raw["target"]["tokens"] = None
        raw["factors"] = self.factors[:1]
        raw["train"] |= {"tokens": None, "batch": 4, "eval_sequences": 4, "sample_interval": 0}
        raw["evaluate"]["sequences"] = 4
        raw["resamples"] = 20
        if self.grid is not None:
            raw["grid"] = {"sizes": raw["grid"]["sizes"][:2], "texts": [2000, 8000], "tokens": 256}
        return self.model_validate(raw)


def _first(error: ValueError) -> str:
    """What a model's own check said."""
    found = getattr(error, "errors", None)
    return str(found()[0]["msg"]).removeprefix("Value error, ") if found else str(error)


load_scaling = loader(ScalingConfig)


shipped_scaling = shipped(load_scaling, "scaling.yaml")
"""What the deployment runs when nothing else is said."""
