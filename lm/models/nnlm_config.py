"""Sizes of the neural probabilistic language model; importable without torch."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lm.config import StrictModel
from lm.presets import from_preset


class NNLMConfig(StrictModel):
    """A neural probabilistic language model (Bengio et al. 2003); the paper's letters in parentheses."""

    kind: Literal["nnlm"] = Field(default="nnlm", description="Which model these settings are for.")
    order: int = Field(default=5, ge=2, description="A token is predicted from the order - 1 before it (n).")
    embedding: int = Field(default=60, ge=1, description="Width of a token's vector (m).")
    hidden: int = Field(default=100, ge=0, description="Hidden tanh units (h); 0: the direct links alone.")
    direct: bool = Field(
        default=True, description="Direct links from the vectors to the scores (W); false: a plain MLP, W = 0."
    )
    vocab: int = Field(default=8192, ge=1, description="Tokens of its tokenizer (|V|).")
    start_token: int = Field(
        default=0,
        ge=0,
        description="Token that begins documents. It fills the places of a window that lie before the text, and"
        " hides what stands before it: a window never reaches into another document. Training sets it to the"
        " tokenizer's.",
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.hidden and not self.direct:
            raise ValueError("hidden: 0 without direct links leaves nothing that looks at the words before")
        if self.start_token >= self.vocab:
            raise ValueError(f"start_token {self.start_token} is no token of a vocabulary of {self.vocab}")
        return self

    @property
    def window(self) -> int:
        """Tokens that a prediction looks at (n - 1)."""
        return self.order - 1

    @property
    def width(self) -> int:
        """Width of what the scores are computed from."""
        return self.hidden + (self.window * self.embedding if self.direct else 0)

    def parameter_count(self) -> int:
        """|V| (1 + n m + h) + h (1 + (n - 1) m) with direct links (paper, section 2); |V| (n - 1) m less without."""
        v, n, m, h = self.vocab, self.order, self.embedding, self.hidden
        return v * (1 + n * m + h) + h * (1 + (n - 1) * m) - (0 if self.direct else v * (n - 1) * m)


NNLM_PRESETS: dict[str, NNLMConfig] = {
    # Rows of the paper's table 1 (Brown corpus, 16,383 words); brown-mlp10 is the best one, mixed with a trigram.
    "brown-mlp1": NNLMConfig(order=5, embedding=60, hidden=50, direct=True, vocab=16_383),
    "brown-mlp10": NNLMConfig(order=5, embedding=30, hidden=100, direct=False, vocab=16_383),
    # Ours: what a token is worth today.
    "small": NNLMConfig(order=5, embedding=128, hidden=256, direct=False, vocab=8192),
}


def nnlm_preset(name: str, vocab: int | None = None, **overrides: Any) -> NNLMConfig:
    """A preset by name, with the tokenizer's vocabulary and further fields replaced.

    Raises ValueError naming the nearest preset if there is none of that name.
    """
    return from_preset(NNLM_PRESETS, name, vocab=vocab, **overrides)
