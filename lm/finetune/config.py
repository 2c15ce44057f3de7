"""Configuration of fine-tuning and of its baseline, importable without torch and scikit-learn."""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from lm.config import GPTConfig, OptimizerConfig, ScheduleConfig, StrictModel, TrainConfig


class FinetuneConfig(StrictModel):
    """One fine-tuning run of a GPT on sequence classification (GPT-1: Radford et al. 2018, sections 3.2, 4.1).

    GPT-1's own values (openai/finetune-transformer-lm `train.py`) are named where ours differ: a model of a few
    million parameters takes, and needs, larger steps.
    """

    initialisation: Literal["pretrained", "random"] = Field(
        default="pretrained",
        description="`pretrained` starts from the backbone's weights; `random` from random weights of the same"
        " size, with the same tokenizer: what pretraining is compared with.",
    )
    seed: int = Field(default=0, ge=0, description="Decides new weights, order of examples and dropout.")
    epochs: float = Field(default=6.0, gt=0, description="Passes over the training examples (GPT-1: 3).")
    batch: int = Field(default=16, ge=1, description="Examples of one optimiser step (GPT-1: 32).")
    micro_batch: int | Literal["auto"] = Field(
        default="auto", description="Examples that go through the model at a time; changes no gradient."
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="Peak, reached after warm-up (GPT-1: 6.25e-5).")
    warmup: float = Field(
        default=0.1, ge=0, le=1, description="Fraction of all steps with rising learning rate (GPT-1: .002)."
    )
    weight_decay: float = Field(default=0.01, ge=0, description="Per unit of learning rate, on matrices (GPT-1: .01).")
    clip: float = Field(default=1.0, ge=0, description="Largest global gradient norm; 0 clips nothing (GPT-1: 1).")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Inside the backbone while fine-tuning (GPT-1: .1).")
    head_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="On the hidden state that the head reads (GPT-1: .1)."
    )
    pooling: Literal["extract", "mean"] = Field(
        default="mean",
        description="What the head reads: `extract`, the hidden state of the extract token (GPT-1), or `mean`, that of"
        " all tokens, from which a model of a few million parameters learns much faster.",
    )
    auxiliary_weight: float = Field(
        default=0.5, ge=0, description="Lambda of L3 = L2 + lambda * L1, the share of language modelling (GPT-1: .5)."
    )
    max_tokens: int | None = Field(
        default=None, ge=3, description="Tokens of an input at most, start and extract included; null: the context."
    )
    evaluations: int = Field(
        default=4, ge=1, description="How often the dev set is looked at; the best of these weights are kept."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="`auto`: a CUDA GPU if there is one.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="`bf16`: matrix products by autocast, in predictions too; weights and loss stay fp32. `auto`: bf16"
        " where the hardware multiplies it natively.",
    )
    metrics_interval: int = Field(default=10, ge=1, description="Steps between reports of loss and speed.")
    checkpoint_seconds: float = Field(
        default=30.0, ge=0, description="Seconds between checkpoints, besides the best ones; changes no result."
    )
    checkpoint_interval: int = Field(default=0, ge=0, description="Steps between checkpoints, 0: only by time.")

    def train_config(self, model: GPTConfig, steps: int) -> TrainConfig:
        """The trainer's configuration for a run of `steps` updates, resolved for this machine and model."""
        return TrainConfig(
            steps=steps,
            batch=self.batch,
            micro_batch=self.micro_batch,
            optimizer=OptimizerConfig(
                learning_rate=self.learning_rate, weight_decay=self.weight_decay, beta1=0.9, beta2=0.999
            ),
            # warm-up, then linear to zero, as GPT-1
            schedule=ScheduleConfig(
                shape="wsd", decay_part=1 - self.warmup or 1.0, warmup_steps=int(self.warmup * steps), final_fraction=0
            ),
            clip=self.clip,
            device=self.device,
            precision=self.precision,
            seed=self.seed,
            metrics_interval=self.metrics_interval,
            eval_interval=math.ceil(steps / self.evaluations),
            sample_interval=0,
            checkpoint_interval=self.checkpoint_interval,
            checkpoint_seconds=self.checkpoint_seconds,
            keep_last=1,
            select="best",
        ).resolve(model)

    def resolve(self, model: GPTConfig) -> "FinetuneConfig":
        """Replace every `auto` by what this machine and model make of it."""
        resolved = self.train_config(model, 1)
        update = {name: getattr(resolved, name) for name in ("device", "precision", "micro_batch")}
        return self.model_copy(update=update)


class BaselineConfig(StrictModel):
    """Bag-of-words baseline: tf-idf of words, logistic regression; its strength is chosen on the dev set."""

    inverse_penalty: tuple[float, ...] = Field(
        default=(0.1, 1.0, 10.0, 100.0, 1000.0),
        min_length=1,
        description="Candidates for C, the inverse strength of the L2 penalty; the best on dev, the smallest of"
        " equals.",
    )
    ngrams: int = Field(default=1, ge=1, le=3, description="Word n-grams of up to this order are features.")
    max_iterations: int = Field(default=1000, ge=1, description="Iterations of the solver at most.")

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if min(self.inverse_penalty) <= 0:
            raise ValueError("inverse_penalty: every candidate must be above 0")
        return self
