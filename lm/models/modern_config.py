"""Configuration of the modern preset, importable without torch."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lm.config import OptimizerConfig, ScheduleConfig, StrictModel
from lm.presets import from_preset


class ModernConfig(StrictModel):
    """A decoder of today; lm/models/modern.py has the equations."""

    kind: Literal["modern"] = Field(default="modern", description="Which kind of model this is.")
    layers: int = Field(default=12, ge=1, description="Transformer blocks.")
    width: int = Field(default=768, ge=1, description="Width of the residual stream.")
    heads: int = Field(default=12, ge=1, description="Attention heads; must divide the width into even parts.")
    context: int = Field(default=1024, ge=1, description="Tokens the model can look at.")
    vocab: int = Field(default=50257, ge=1, description="Tokens of its tokenizer.")
    rotary_base: float = Field(
        default=10_000.0, gt=1.0, description="Rotary positions: the slowest pair turns by about 1/base a token."
    )
    tied: bool = Field(default=False, description="Whether the head is the embedding.")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is not a multiple of twice the heads, 2 * {self.heads}")
        return self

    def parameter_count(self) -> int:
        """Trainable numbers."""
        return ((1 if self.tied else 2) * self.vocab + 1) * self.width + self.layers * 12 * self.width**2


MODERN_PRESETS: dict[str, ModernConfig] = {
    "124m": ModernConfig(),  # as large as GPT-2's smallest, but for the head
    # As the GPTs of the same sizes in GPT_PRESETS.
    "pico": ModernConfig(layers=2, width=64, heads=2, context=64, vocab=1024),
    "nano": ModernConfig(layers=4, width=192, heads=6, context=128, vocab=8192),
    "micro": ModernConfig(layers=6, width=320, heads=5, context=256, vocab=8192),
    "mini": ModernConfig(layers=8, width=512, heads=8, context=512, vocab=16384),
}

# What it is trained with: Muon for matrices and AdamW for the rest; a constant rate, falling to zero in the last part.
MODERN_OPTIMIZER = OptimizerConfig(
    method="muon", learning_rate=0.02, muon_rate=0.025, muon_momentum=0.9, beta1=0.8, epsilon=1e-10, weight_decay=0.0
)
MODERN_SCHEDULE = ScheduleConfig(shape="wsd", warmup_steps=0, decay_part=0.8, final_fraction=0.0)


def modern_preset(name: str, vocab: int | None = None, **overrides: Any) -> ModernConfig:
    """A preset by name, with the tokenizer's vocabulary and further fields replaced.

    Raises ValueError naming the nearest preset if there is none of that name.
    """
    return from_preset(MODERN_PRESETS, name, vocab=vocab, **overrides)
