"""Sizes of BERT and its kin, which differ in values alone; importable without torch."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lm.config import StrictModel
from lm.presets import from_preset


class BertConfig(StrictModel):
    """A bidirectional encoder with the heads that it is pretrained with (Devlin et al. 2019, section 3)."""

    kind: Literal["bert"] = Field(default="bert", description="Which model these settings are for.")
    layers: int = Field(default=12, ge=1, description="Transformer blocks (L).")
    width: int = Field(default=768, ge=1, description="Width of the hidden states (H).")
    heads: int = Field(default=12, ge=1, description="Attention heads (A); must divide the width.")
    feed_forward: int | None = Field(default=None, ge=1, description="Width inside the feed-forward; None: 4 * width.")
    context: int = Field(default=512, ge=4, description="Tokens the model can look at, special ones included.")
    vocab: int = Field(default=30522, ge=6, description="Tokens of its tokenizer.")
    segments: int = Field(default=2, ge=1, description="Segment embeddings; RoBERTa has one.")
    embedding: int | None = Field(
        default=None,
        ge=1,
        description="ALBERT: token vectors of this width (E), multiplied up to the width. None: as wide, no product.",
    )
    shared_layers: bool = Field(default=False, description="ALBERT: all layers have the same weights.")
    activation: Literal["gelu", "gelu_tanh"] = Field(
        default="gelu", description="GELU by the error function, or its approximation by tanh (ALBERT)."
    )
    position_offset: int = Field(
        default=0,
        ge=0,
        description="Number of the first position. RoBERTa: 2, behind that of padding; positions then count real"
        " tokens only.",
    )
    pair_head: bool = Field(
        default=True, description="Pooler and two-way head on [CLS]: next sentence, or sentence order."
    )
    boundary_head: bool = Field(
        default=False, description="SpanBERT: masked tokens are also predicted from the two ends of their span."
    )
    boundary_positions: int = Field(
        default=20, ge=1, description="Places in a span that have a vector of their own; later ones share the last."
    )
    boundary_width: int = Field(default=200, ge=1, description="Width of these vectors (SpanBERT: 200).")
    dropout: float = Field(
        default=0.1, ge=0.0, lt=1.0, description="After embeddings, attention and feed-forward, and on attention."
    )
    norm_epsilon: float = Field(default=1e-12, gt=0.0, description="Added to the variance in layer norms.")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self

    @property
    def inner(self) -> int:
        """Width inside the feed-forward."""
        return self.feed_forward or 4 * self.width

    @property
    def token_width(self) -> int:
        """Width of the embeddings (E)."""
        return self.embedding or self.width

    def parameter_count(self) -> int:
        """Trainable numbers; the decoder, which is the embedding, and shared layers counted once."""
        h, e, f = self.width, self.token_width, self.inner
        embeddings = (self.vocab + self.context + self.position_offset + self.segments + 2) * e
        embeddings += 0 if self.embedding is None else h * e + h
        block = 4 * (h * h + h) + (2 * h * f + f + h) + 4 * h
        masked_head = h * e + 3 * e + self.vocab
        pair_head = h * h + 3 * h + 2 if self.pair_head else 0
        boundary = 0
        if self.boundary_head:
            inputs = 2 * h + self.boundary_width
            boundary = self.boundary_positions * self.boundary_width + self.vocab
            boundary += (inputs * h + 3 * h) + (h * e + 3 * e)
        return embeddings + (1 if self.shared_layers else self.layers) * block + masked_head + pair_head + boundary


_ROBERTA: dict[str, Any] = {
    "segments": 1,
    "position_offset": 2,
    "pair_head": False,
    "vocab": 50265,
    "norm_epsilon": 1e-5,
}
_ALBERT: dict[str, Any] = {
    "embedding": 128,
    "shared_layers": True,
    "activation": "gelu_tanh",
    "vocab": 30000,
    "dropout": 0.0,
}
BERT_PRESETS: dict[str, BertConfig] = {
    # Devlin et al. 2019; the small ones of Turc et al. 2019 (google-research/bert README): H/64 heads.
    "bert-base": BertConfig(),
    "bert-large": BertConfig(layers=24, width=1024, heads=16),
    "bert-tiny": BertConfig(layers=2, width=128, heads=2),
    "bert-mini": BertConfig(layers=4, width=256, heads=4),
    "bert-small": BertConfig(layers=4, width=512, heads=8),
    "bert-medium": BertConfig(layers=8, width=512, heads=8),
    # Liu et al. 2019.
    "roberta-base": BertConfig(**_ROBERTA),
    "roberta-large": BertConfig(layers=24, width=1024, heads=16, **_ROBERTA),
    # Lan et al. 2020, version 2 (no dropout).
    "albert-base": BertConfig(**_ALBERT),
    "albert-large": BertConfig(layers=24, width=1024, heads=16, **_ALBERT),
    "albert-xlarge": BertConfig(layers=24, width=2048, heads=16, **_ALBERT),
    "albert-xxlarge": BertConfig(layers=12, width=4096, heads=64, **_ALBERT),
    # Joshi et al. 2020 and Cui et al. 2020: BERT in the encoder, another task in pretraining.
    "spanbert-base": BertConfig(pair_head=False, boundary_head=True, vocab=28996),
    "macbert-base": BertConfig(vocab=21128),
}


def bert_preset(name: str, vocab: int | None = None, **overrides: Any) -> BertConfig:
    """A preset by name, with the tokenizer's vocabulary and further fields replaced.

    Raises ValueError naming the nearest preset if there is none of that name.
    """
    return from_preset(BERT_PRESETS, name, vocab=vocab, **overrides)
