"""Sizes of Transformer-XL; importable without torch."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lm.config import StrictModel
from lm.presets import from_preset


class TransformerXLConfig(StrictModel):
    """A Transformer-XL (Dai et al. 2019; field names ours, defaults those of its base model for WikiText-103,
    `run_wt103_base.sh` of kimiyoung/transformer-xl, with one softmax instead of the adaptive one)."""

    kind: Literal["transformer_xl"] = Field(default="transformer_xl", description="Which generation this is.")
    layers: int = Field(default=16, ge=1, description="Layers (n_layer).")
    width: int = Field(default=410, ge=1, description="Width of the residual stream (d_model).")
    heads: int = Field(default=10, ge=1, description="Attention heads; must divide the width (n_head).")
    inner: int = Field(default=2100, ge=1, description="Width between the two products of a feed-forward (d_inner).")
    memory: int = Field(default=150, ge=0, description="Tokens before a segment that it sees, per layer (mem_len).")
    vocab: int = Field(default=50257, ge=1, description="Tokens of its tokenizer.")
    dropout: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="On vectors, positions, attention's output and feed-forward."
    )
    attention_dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="On attention's weights (dropatt).")
    same_length: bool = Field(
        default=False,
        description="Every position sees `memory` tokens, itself among them, wherever in a segment it stands.",
    )
    clamp: int = Field(default=0, ge=0, description="Distances beyond this count as this (clamp_len); 0: none do.")
    norm_epsilon: float = Field(default=1e-5, gt=0.0, description="Added to the variance in layer norms.")

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.same_length and not self.memory:
            raise ValueError("same_length says that every position sees `memory` tokens before it, but memory is 0")
        return self

    def parameter_count(self) -> int:
        """Trainable numbers, the shared embedding counted once.

        A layer has five square matrices (query, key, value, relative position, output), its feed-forward with biases
        and two norms; u and v are shared by all layers.
        """
        layer = 5 * self.width**2 + 2 * self.width * self.inner + self.inner + self.width + 4 * self.width
        return self.vocab * (self.width + 1) + self.layers * layer + 2 * self.width


class TransformerXLStream(StrictModel):
    """How a text is read in lanes, segment by segment."""

    segment: int = Field(default=128, ge=1, description="Tokens of a segment: how far back gradients reach.")


TRANSFORMER_XL_PRESETS: dict[str, TransformerXLConfig] = {
    # kimiyoung/transformer-xl `pytorch/run_wt103_base.sh`, `run_enwik8_base.sh`.
    "transformer-xl-wt103": TransformerXLConfig(vocab=267_735, dropout=0.1),
    "transformer-xl-enwik8": TransformerXLConfig(
        layers=12, width=512, heads=8, inner=2048, memory=512, vocab=204, dropout=0.1
    ),
    # Ours, for small machines; sizes as the GPT presets of these names.
    "xl-pico": TransformerXLConfig(layers=2, width=64, heads=2, inner=256, memory=64, vocab=1024),
    "xl-nano": TransformerXLConfig(layers=4, width=192, heads=6, inner=768, memory=128, vocab=8192),
}


def transformer_xl_preset(name: str, vocab: int | None = None, **overrides: Any) -> TransformerXLConfig:
    """A preset by name, with the tokenizer's vocabulary and further fields replaced.

    Raises ValueError naming the nearest preset if there is none of that name.
    """
    return from_preset(TRANSFORMER_XL_PRESETS, name, vocab=vocab, **overrides)
