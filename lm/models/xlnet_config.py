"""Sizes of XLNet, and how much of its training text is predicted; importable without torch."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lm.config import StrictModel
from lm.presets import from_preset


class XLNetConfig(StrictModel):
    """An XLNet (Yang et al. 2019; field names ours, defaults those of its base model)."""

    kind: Literal["xlnet"] = Field(default="xlnet", description="Which generation this is.")
    layers: int = Field(default=12, ge=1, description="Layers (n_layer).")
    width: int = Field(default=768, ge=1, description="Width of both streams (d_model).")
    heads: int = Field(default=12, ge=1, description="Attention heads; must divide the width (n_head).")
    inner: int = Field(default=3072, ge=1, description="Width between the two products of a feed-forward (d_inner).")
    context: int = Field(
        default=512,
        ge=2,
        description="Tokens of a training example, and read together in scoring and generating. Positions are relative:"
        " the weights do not depend on it.",
    )
    memory: int = Field(default=0, ge=0, description="Tokens before a segment that it sees, per layer (mem_len).")
    vocab: int = Field(default=32_000, ge=1, description="Tokens of its tokenizer.")
    dropout: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="On vectors, positions, attention, its output and feed-forward."
    )
    clamp: int = Field(default=0, ge=0, description="Distances beyond this count as this (clamp_len); 0: none do.")
    norm_epsilon: float = Field(default=1e-12, gt=0.0, description="Added to the variance in layer norms.")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self

    def parameter_count(self) -> int:
        """Trainable numbers, the shared embedding counted once.

        A layer has five square matrices (query, key, value, relative position, output), three biases of attention and
        two segment vectors, its feed-forward with biases and two norms.
        """
        layer = 5 * self.width**2 + 5 * self.width + 2 * self.width * self.inner + self.inner + 5 * self.width
        return self.vocab * (self.width + 1) + self.width + self.layers * layer


class PermutationConfig(StrictModel):
    """How much of a text is predicted."""

    predict: int = Field(
        default=6,
        ge=1,
        description="One token of so many is predicted, the last in the order; the others are seen (the paper's K: 6).",
    )
    longest_span: int = Field(
        default=5, ge=1, description="Spans of 1 to this many tokens are predicted together, of n with weight 1 / n."
    )

    def targets(self, context: int) -> int:
        """Tokens predicted of an example of `context` tokens. Raises ValueError if that is none."""
        if self.predict > context:
            raise ValueError(f"one token of {self.predict} is to be predicted, but an example has {context}")
        return context // self.predict


XLNET_PRESETS: dict[str, XLNetConfig] = {
    # zihangdai/xlnet README, released models.
    "xlnet-base": XLNetConfig(dropout=0.1),
    "xlnet-large": XLNetConfig(layers=24, width=1024, heads=16, inner=4096, dropout=0.1),
    # Ours, for small machines; sizes as the GPT presets of these names.
    "xlnet-pico": XLNetConfig(layers=2, width=64, heads=2, inner=256, context=64, vocab=1024),
    "xlnet-nano": XLNetConfig(layers=4, width=192, heads=6, inner=768, context=128, vocab=8192),
}


def xlnet_preset(name: str, vocab: int | None = None, **overrides: Any) -> XLNetConfig:
    """A preset by name, with the tokenizer's vocabulary and further fields replaced.

    Raises ValueError naming the nearest preset if there is none of that name.
    """
    return from_preset(XLNET_PRESETS, name, vocab=vocab, **overrides)
