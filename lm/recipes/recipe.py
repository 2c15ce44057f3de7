"""What a recipe is given, and what it gives: the parts that `lm.pretrain` puts together."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from torch import nn

from lm.artifact import initial_weights, weights_sha256
from lm.config import TrainConfig
from lm.order import Order, draw_seed, examples_at
from lm.pretraining import Pretrainable
from lm.stop import ShouldStop, never
from lm.tokenizer import load_tokenizer, token_byte_lengths
from lm.tokens import TokenIndex, tokenizer_sha256
from lm.train.objective import Examples, Objective


@dataclass(frozen=True)
class Given:
    """One pretraining. Raises ValueError if the tokens were made by another tokenizer.

    `similar_words`: a folder of `lm.similar_words`, for masks by similar words.
    """

    settings: Pretrainable
    config: TrainConfig
    train: TokenIndex
    valid: TokenIndex
    tokenizer_dir: Path
    init_from: Path | None = None
    should_stop: ShouldStop = never
    similar_words: Path | None = None

    def __post_init__(self) -> None:
        sha = tokenizer_sha256(self.tokenizer_dir)
        for name, index in (("training", self.train), ("validation", self.valid)):
            if index.tokenizer_sha256 != sha:
                raise ValueError(f"the {name} tokens were made by another tokenizer than {self.tokenizer_dir}")

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return load_tokenizer(self.tokenizer_dir)

    @cached_property
    def token_bytes(self) -> np.ndarray:
        """The UTF-8 bytes that each token stands for, int [vocab]."""
        return token_byte_lengths(self.tokenizer)

    @property
    def deciding(self) -> dict[str, Any]:
        """What decides the result besides the training's own settings, the model and the examples, by name."""
        said_elsewhere = {"kind", "model", "optimizer", "schedule"}
        # each setting, also where a default is left out when it is written down
        read = {
            name: getattr(self.settings, name)
            for name in type(self.settings).model_fields
            if name not in said_elsewhere
        }
        began = None if self.init_from is None else weights_sha256(self.init_from)
        return {**read, "tokenizer": tokenizer_sha256(self.tokenizer_dir), "init_from": began}

    def new_model(self, of: Callable[..., nn.Module]) -> nn.Module:
        """`of(config, seed)`: the weights that the configuration's seed decides."""
        return of(self.settings.model, seed=draw_seed(self.config.seed, "init"))

    def first_model(self, of: Callable[..., nn.Module]) -> nn.Module:
        """The model before its first step: new, or with the weights of `init_from`.

        Raises ValueError if those are of another size (dropout aside) or under another tokenizer.
        """
        model = self.new_model(of)
        if self.init_from is not None:
            model.load_state_dict(initial_weights(self.init_from, self.settings.model, self.tokenizer_dir))
        return model


@dataclass(frozen=True)
class Recipe:
    """How one kind of model is trained on tokens and watched. See `Trainer` for what the parts must do."""

    model: nn.Module
    untrained: Callable[[], nn.Module]
    """The model with new weights, to be scored beside the trained one."""
    objective: Objective
    examples: Examples
    evaluate: Callable[[nn.Module], dict[str, float]]
    baselines: Callable[[], dict[str, dict[str, float]]]
    """Figures of what the model must beat, by name."""
    sample: Callable[[Any, str, int], str] | None = None
    best_metric: str = "bits_per_byte"
    order: Order = examples_at
    rate_scale: Callable[[int], float] = lambda step: 1.0
