"""Sizes of GPTs, with the presets of GPT-1, GPT-2 and GPT-3 as printed; importable without torch."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lm.config import StrictModel
from lm.presets import from_preset


class GPTConfig(StrictModel):
    """A GPT of any number: GPT-2 (Radford et al. 2019) unless `norm` makes it GPT-1 (2018) or `band` GPT-3 (Brown et
    al. 2020). Field names ours, in brackets those of openai/gpt-2 `hparams`."""

    kind: Literal["gpt"] = Field(default="gpt", description="Kind of model, in its folder.")
    layers: int = Field(default=12, ge=1, description="Transformer blocks (n_layer).")
    width: int = Field(default=768, ge=1, description="Width of the residual stream (n_embd).")
    heads: int = Field(default=12, ge=1, description="Attention heads; must divide the width (n_head).")
    context: int = Field(default=1024, ge=1, description="Tokens the model can look at (n_ctx).")
    vocab: int = Field(default=50257, ge=1, description="Tokens of its tokenizer (n_vocab).")
    dropout: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="After embeddings, attention and feed-forward, and on attention.",
    )
    norm_epsilon: float = Field(default=1e-5, gt=0.0, description="Added to the variance in layer norms.")
    norm: Literal["pre", "post"] = Field(
        default="pre",
        description="Where layer norms stand: `pre`, before attention and feed-forward, and one more at the end"
        " (GPT-2, GPT-3); `post`, behind each sum with the residual stream (GPT-1).",
    )
    band: int | None = Field(
        default=None,
        ge=1,
        description="GPT-3: every second layer, from the second on, sees only this many positions, its own"
        " included. Null: every layer sees all (GPT-1, GPT-2).",
    )
    head_width: int | None = Field(
        default=None, ge=1, description="Width of an attention head (d_head). Null: width / heads."
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.head_width is None and self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self

    def inner_width(self) -> int:
        """Width of queries, keys and values, all heads together."""
        return self.heads * (self.head_width or self.width // self.heads)

    def parameter_count(self) -> int:
        """Trainable numbers, the shared embedding counted once."""
        inner = self.inner_width()
        attention = 4 * self.width * inner + 3 * inner + self.width
        block = attention + 8 * self.width**2 + 5 * self.width + 4 * self.width
        final = 2 * self.width if self.norm == "pre" else 0
        return (self.vocab + self.context) * self.width + self.layers * block + final


def _gpt3(**size: int) -> GPTConfig:
    return GPTConfig(context=2048, band=256, **size)


GPT_PRESETS: dict[str, GPTConfig] = {
    # As published (nanoGPT `model.py` lists the same four); dropout is off, as in single-epoch training.
    "gpt2": GPTConfig(layers=12, width=768, heads=12),
    "gpt2-medium": GPTConfig(layers=24, width=1024, heads=16),
    "gpt2-large": GPTConfig(layers=36, width=1280, heads=20),
    "gpt2-xl": GPTConfig(layers=48, width=1600, heads=25),
    "gpt1": GPTConfig(norm="post", context=512, vocab=40478, dropout=0.1),
    # GPT-3, table 2.1, as printed. The width of the band was not published: 256 is GPT-Neo's.
    "gpt3-small": _gpt3(layers=12, width=768, heads=12),
    "gpt3-medium": _gpt3(layers=24, width=1024, heads=16),
    "gpt3-large": _gpt3(layers=24, width=1536, heads=16),
    "gpt3-xl": _gpt3(layers=24, width=2048, heads=24, head_width=128),  # 24 x 128 is not 2048
    "gpt3-2.7b": _gpt3(layers=32, width=2560, heads=32),
    "gpt3-6.7b": _gpt3(layers=32, width=4096, heads=32),
    "gpt3-13b": _gpt3(layers=40, width=5140, heads=40, head_width=128),  # 40 x 128 is not 5140
    "gpt3-175b": _gpt3(layers=96, width=12288, heads=96),
    # The two rows that do not add up, as they were probably meant: heads times their width is the width.
    "gpt3-xl-fixed": _gpt3(layers=24, width=2048, heads=16),
    "gpt3-13b-fixed": _gpt3(layers=40, width=5120, heads=40),
    # Ours, for small machines.
    "pico": GPTConfig(layers=2, width=64, heads=2, context=64, vocab=1024),
    "nano": GPTConfig(layers=4, width=192, heads=6, context=128, vocab=8192),
    "micro": GPTConfig(layers=6, width=320, heads=5, context=256, vocab=8192),
    "mini": GPTConfig(layers=8, width=512, heads=8, context=512, vocab=16384),
}


def gpt_preset(name: str, vocab: int | None = None, **overrides: Any) -> GPTConfig:
    """A preset by name, with the tokenizer's vocabulary and further fields replaced.

    Raises ValueError naming the nearest preset if there is none of that name.
    """
    return from_preset(GPT_PRESETS, name, vocab=vocab, **overrides)
