"""Configuration of a training: one strict pydantic model per concept, importable without torch."""

import math
from typing import Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lm.hardware import resolve_device, resolve_precision


class StrictModel(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OptimizerConfig(StrictModel):
    """AdamW (Loshchilov & Hutter 2019) with weight decay on matrices only, never on biases and layer norms; SGD; or
    Muon (Jordan et al. 2024)."""

    method: Literal["adamw", "sgd", "muon"] = Field(
        default="adamw",
        description="`adamw`; `sgd`: plain gradient descent with weight decay (added to the gradient) on all"
        " weights, which has no betas and no epsilon; `muon`: Muon for matrices, AdamW with the settings below for"
        " embeddings, the head, gains and biases.",
    )
    learning_rate: float | Literal["auto"] = Field(
        default="auto",
        description="Peak learning rate. `auto`: 6e-4 * 768 / width (GPT-3 Small's rate, table 2.1, scaled by"
        " width), at most 3e-3; `sgd` needs a number.",
    )
    average_after: int | None = Field(
        default=None,
        ge=0,
        description="`sgd`: NT-ASGD (Merity et al. 2017, algorithm 1). When an evaluation is worse than the best of"
        " all but the last so many before it, the average of the weights from then on is what is evaluated and"
        " handed back. None: never.",
    )
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0, description="Decay of the gradient average.")
    beta2: float = Field(default=0.95, ge=0.0, lt=1.0, description="Decay of the square average (GPT-3: .95).")
    epsilon: float = Field(default=1e-8, gt=0.0, description="Added to the root of the square average.")
    weight_decay: float = Field(default=0.1, ge=0.0, description="Per unit of learning rate, on matrices (GPT-3).")
    muon_rate: float = Field(
        default=0.02,
        gt=0.0,
        description="`muon`: peak learning rate of matrices: how far each of their directions moves, whatever the"
        " gradient's size. Follows the same schedule as learning_rate, which is that of the rest. `clip` is for the"
        " rest only.",
    )
    muon_momentum: float = Field(default=0.95, ge=0.0, lt=1.0, description="`muon`: decay of the gradient average.")

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        if self.method == "sgd" and self.learning_rate == "auto":
            raise ValueError("optimizer.method sgd needs a learning_rate: there is no good guess for `auto`")
        if self.method != "sgd" and self.average_after is not None:
            raise ValueError("optimizer.average_after is for method sgd")
        return self


class ScheduleConfig(StrictModel):
    """Learning rate over the steps: linear warm-up, then a shape, as a fraction of the peak."""

    shape: Literal["cosine", "wsd", "constant", "noam", "stlr"] = Field(
        default="cosine",
        description="`cosine` to the final fraction (GPT-3); `wsd`: constant, then linear decay over the last"
        " part (Hu et al. 2024, MiniCPM); `constant`; `noam`: falls with the inverse square root of the step (Vaswani"
        " et al. 2017, whose peak is 1 / sqrt(width * warmup_steps)); `stlr`: ULMFiT's slanted triangle (Howard & Ruder"
        " 2018), which has no warm-up besides its own rise.",
    )
    warmup_steps: int | Literal["auto"] = Field(
        default="auto",
        description="Steps of linear warm-up. `auto`: 2 % of all steps, in short runs up to 100 steps or 10 %.",
    )
    decay_part: float = Field(default=0.2, gt=0.0, le=1.0, description="`wsd`: last part of all steps that decays.")
    final_fraction: float = Field(default=0.1, ge=0.0, le=1.0, description="Learning rate at the end / peak.")
    cut_fraction: float = Field(default=0.1, gt=0.0, lt=1.0, description="`stlr`: part of all steps that rises.")
    ratio: float = Field(default=32.0, ge=1.0, description="`stlr`: peak / learning rate at the start and the end.")

    def resolve(self, steps: int) -> "ScheduleConfig":
        """Replace `auto` by numbers for a run of `steps`."""
        if self.warmup_steps != "auto":
            return self
        return self.model_copy(update={"warmup_steps": max(1, round(0.02 * steps), min(100, steps // 10))})


class GuardConfig(StrictModel):
    """What becomes of a step whose loss or gradient norm is bad. It is never learned from; each one is recorded."""

    non_finite: Literal["stop", "skip", "roll_back"] = Field(
        default="stop",
        description="A loss or gradient norm that is infinite or not a number. `stop`: the run ends before the update,"
        " its last checkpoint is good. `skip`: no update, the next step goes on. `roll_back`: the weights of the last"
        " snapshot are taken again, and training goes on behind the bad step: what was read since is left out.",
    )
    spike: Literal["ignore", "stop", "skip", "roll_back"] = Field(
        default="ignore",
        description="A loss or gradient norm far above those of the steps before; `ignore`: learned from.",
    )
    sigmas: float = Field(default=6.0, gt=0.0, description="Standard deviations above the mean that make a spike.")
    window: int = Field(
        default=128, ge=4, description="Good steps that mean and deviation are of; spikes are seen after half of them."
    )
    limit: int = Field(default=10, ge=0, description="Bad steps of a run that are put right; one more stops it.")
    snapshot_interval: int = Field(
        default=100, ge=1, description="`roll_back`: steps between snapshots, which are checkpoints that are kept."
    )

    @property
    def rolls_back(self) -> bool:
        """Whether snapshots are needed."""
        return "roll_back" in (self.non_finite, self.spike)


class Windowed(Protocol):
    """The sizes of a model that reads a window of tokens."""

    @property
    def width(self) -> int: ...

    @property
    def vocab(self) -> int: ...

    @property
    def context(self) -> int: ...


class TrainConfig(StrictModel):
    """One training run. Exactly one of `steps`, `tokens` and `epochs` says how long."""

    steps: int | None = Field(default=None, ge=1, description="Optimiser steps.")
    tokens: int | None = Field(default=None, ge=1, description="Tokens to read (rounded up to whole steps).")
    epochs: float | None = Field(default=None, gt=0, description="Passes over the examples (rounded up to steps).")
    batch: int = Field(default=16, ge=1, description="Sequences (examples) of one optimiser step.")
    micro_batch: int | Literal["auto"] = Field(
        default="auto",
        description="Sequences that go through the model at a time; the rest is gradient accumulation, equal"
        " to the large batch. `auto`: so many that the fp32 logits of one pass stay below 256 MiB.",
    )
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig, description="The optimiser.")
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig, description="The learning-rate schedule.")
    clip: float = Field(default=1.0, ge=0.0, description="Largest global gradient norm; 0 clips nothing (GPT-3: 1).")
    guard: GuardConfig = Field(
        default_factory=GuardConfig,
        exclude_if=lambda guard: guard == GuardConfig(),  # what is trained without one keeps its key
        description="What becomes of a step with a bad loss.",
    )
    data_workers: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Processes that make the batches of the next steps while the model trains; 0: each is made between"
        " steps. Changes no result. Worth it where a step waits for its batch: masked and permuted examples on a GPU.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="`auto`: a CUDA GPU if there is one.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="`bf16`: matrix products by autocast, weights and loss stay fp32. `auto`: bf16 where the"
        " hardware multiplies it natively (AVX512-BF16 or AMX CPU, Ampere or newer GPU).",
    )
    compile: bool = Field(
        default=False,
        exclude_if=lambda on: not on,  # the keys of trainings without it stay what they were
        description="torch.compile for the layers of a transformer: faster on a GPU, minutes to start on a processor."
        " Changes the last bits.",
    )
    seed: int = Field(default=0, ge=0, description="Decides initial weights, order of examples and dropout.")
    metrics_interval: int = Field(default=10, ge=1, description="Steps between reports of loss and speed.")
    eval_interval: int | Literal["auto"] = Field(
        default="auto", description="Steps between evaluations, 0 for none. `auto`: a tenth of all steps."
    )
    eval_sequences: int = Field(default=128, ge=1, description="Validation sequences of an evaluation (the first).")
    sample_interval: int | Literal["auto"] = Field(
        default="auto",
        description="Steps between generated samples, 0 for none. `auto`: a fifth of all steps.",
    )
    sample_prompts: tuple[str, ...] = Field(default=("",), description="Prompts that samples continue.")
    sample_tokens: int = Field(default=64, ge=1, description="Tokens of a sample at most.")
    checkpoint_interval: int = Field(default=0, ge=0, description="Steps between checkpoints, 0: only by time.")
    checkpoint_seconds: float = Field(
        default=60.0, ge=0.0, description="Seconds between checkpoints, 0: only by steps. Changes no result."
    )
    keep_last: int = Field(default=2, ge=1, description="Checkpoints kept, besides the best one.")
    select: Literal["last", "best"] = Field(
        default="last", description="Which weights the run hands back: the last, or the best evaluated."
    )

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        given = [n for n in ("steps", "tokens", "epochs") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of steps, tokens and epochs (given: {', '.join(given) or 'none'})")
        if self.select == "best" and self.eval_interval == 0:
            raise ValueError("select: best needs evaluations, but eval_interval is 0")
        return self

    def total_steps(self, examples: int, tokens_per_example: int) -> int:
        """Optimiser steps of this run over `examples` of `tokens_per_example` tokens each."""
        if self.steps is not None:
            return self.steps
        if self.tokens is not None:
            return math.ceil(self.tokens / (self.batch * tokens_per_example))
        assert self.epochs is not None
        return math.ceil(self.epochs * examples / self.batch)

    def resolve(self, model: Windowed) -> "TrainConfig":
        """Replace every `auto` that depends on the machine or the model's size, without training anything.

        What depends on the number of steps is resolved by `resolve_steps`.
        """
        return self.resolve_for(model.width, model.vocab, model.context)

    def resolve_for(self, width: int, vocab: int, tokens_per_example: int) -> "TrainConfig":
        """As `resolve`, for any model of that width that scores so many tokens of an example over a vocabulary."""
        device = resolve_device(self.device)
        update: dict[str, Any] = {"device": device, "precision": resolve_precision(self.precision, device)}
        if self.micro_batch == "auto":
            fitting = 2**28 // (4 * tokens_per_example * vocab)
            update["micro_batch"] = max(1, min(self.batch, fitting))
        if self.optimizer.learning_rate == "auto":
            rate = min(3e-3, 6e-4 * 768 / width)
            update["optimizer"] = self.optimizer.model_copy(update={"learning_rate": rate})
        return self.model_copy(update=update)

    def resolve_steps(self, steps: int) -> "TrainConfig":
        """Replace the intervals and the warm-up given as `auto` for a run of `steps`."""
        update: dict[str, Any] = {"schedule": self.schedule.resolve(steps)}
        if self.eval_interval == "auto":
            update["eval_interval"] = max(1, steps // 10)
        if self.sample_interval == "auto":
            update["sample_interval"] = max(1, steps // 5)
        return self.model_copy(update=update)
