"""Sizes of the encoder-decoder Transformer; importable without torch."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lm.config import StrictModel
from lm.presets import from_preset, with_preset


class TransformerConfig(StrictModel):
    """Size of a Transformer (Vaswani et al. 2017, table 3; the names of its columns in brackets)."""

    kind: Literal["transformer"] = Field(default="transformer", description="Which model these settings are for.")
    preset: str | None = Field(
        default=None,
        exclude=True,
        description="One of base, big, tiny, small; fields given beside it win. It is replaced by its values when"
        " the configuration is read. A translator's vocabularies are those of its tokenizers, not the preset's.",
    )
    layers: int = Field(default=6, ge=1, description="Layers of the encoder, and as many of the decoder (N).")
    width: int = Field(default=512, ge=2, description="Width of every layer's output (d_model).")
    feed_forward: int = Field(default=2048, ge=1, description="Width inside the feed-forward network (d_ff).")
    heads: int = Field(default=8, ge=1, description="Attention heads (h); d_k = d_v = width / heads.")
    source_vocab: int = Field(default=37_000, ge=1, description="Tokens of the source's tokenizer.")
    target_vocab: int = Field(default=37_000, ge=1, description="Tokens of the target's tokenizer.")
    shared_embedding: bool = Field(
        default=True,
        description="Source vectors, target vectors and the head before the softmax are one matrix (section 3.4): for"
        " one tokenizer of both. False: three matrices.",
    )
    dropout: float = Field(
        default=0.1,
        ge=0.0,
        lt=1.0,
        description="On each sub-layer's output and on the sums of vectors and positions (section 5.4; P_drop).",
    )
    positions: Literal["sinusoidal", "none"] = Field(
        default="sinusoidal", description="Section 3.5. `none`: the encoder sees a bag of words."
    )
    norm_epsilon: float = Field(default=1e-6, gt=0.0, description="Added to the variance in layer norms.")

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, given: Any) -> Any:
        return with_preset(given, lambda: TRANSFORMER_PRESETS)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.width % 2:
            raise ValueError(f"width {self.width} is odd: positions are pairs of a sine and a cosine")
        if self.shared_embedding and self.source_vocab != self.target_vocab:
            raise ValueError(
                f"shared_embedding needs one vocabulary on both sides, not {self.source_vocab} and {self.target_vocab}"
            )
        return self

    def with_vocab(self, source: int, target: int) -> "TransformerConfig":
        """The same model for other tokenizers."""
        return TransformerConfig.model_validate({**self.model_dump(), "source_vocab": source, "target_vocab": target})

    def parameter_count(self) -> int:
        """Trainable numbers, the shared matrix counted once."""
        d, inner = self.width, self.feed_forward
        attention = 4 * d * d + 4 * d
        feed_forward = 2 * d * inner + inner + d
        encoder = attention + feed_forward + 2 * 2 * d
        decoder = 2 * attention + feed_forward + 3 * 2 * d
        vectors = self.target_vocab if self.shared_embedding else self.source_vocab + 2 * self.target_vocab
        return vectors * d + self.layers * (encoder + decoder)


TRANSFORMER_PRESETS: dict[str, TransformerConfig] = {
    # As printed in table 3; about 37,000 byte pairs for English-German (section 5.1).
    "base": TransformerConfig(),
    "big": TransformerConfig(width=1024, feed_forward=4096, heads=16, dropout=0.3),
    # Ours, for small machines.
    "tiny": TransformerConfig(layers=2, width=64, feed_forward=128, heads=4, source_vocab=64, target_vocab=64),
    "small": TransformerConfig(
        layers=3, width=256, feed_forward=1024, heads=4, source_vocab=8192, target_vocab=8192, dropout=0.2
    ),
}


def transformer_preset(name: str, **overrides: Any) -> TransformerConfig:
    """A preset by name with fields replaced. Raises ValueError naming the nearest if there is none of that name."""
    return from_preset(TRANSFORMER_PRESETS, name, **overrides)
