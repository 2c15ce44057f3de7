"""Sizes of recurrent language models, and how their training text is cut; importable without torch."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lm.config import StrictModel
from lm.presets import from_preset

GATES = {"elman": 1, "gru": 3, "lstm": 4}


class RNNConfig(StrictModel):
    """A recurrent language model: embedding, recurrent layers, head over the vocabulary."""

    kind: Literal["rnn"] = Field(default="rnn", description="Kind of model, in its folder.")
    cell: Literal["elman", "gru", "lstm"] = Field(default="lstm", description="What stands at each step.")
    embedding: int = Field(default=256, ge=1, description="Width of a token's vector.")
    width: int = Field(default=256, ge=1, description="Width of each layer's state.")
    layers: int = Field(default=1, ge=1, description="Recurrent layers.")
    vocab: int = Field(default=8192, ge=1, description="Tokens of its tokenizer.")
    tied: bool = Field(
        default=False,
        description="The head is the embedding (Press & Wolf 2017); the last layer then has the embedding's width.",
    )
    input_dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="On the token vectors.")
    hidden_dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="Between layers.")
    output_dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="Before the head.")
    locked: bool = Field(
        default=False,
        description="These three keep one mask for all steps of a sequence (Gal & Ghahramani 2016).",
    )
    embedding_dropout: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="Part of the vocabulary whose vectors are zero in a step."
    )
    weight_dropout: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="DropConnect on the recurrent matrices, one mask for a sequence."
    )
    initial_span: float | None = Field(
        default=None,
        gt=0.0,
        description="All initial weights are uniform in ± this. None: ±1/√width in the cells, ±0.1 in embedding and"
        " head, whose bias is zero (Merity et al. 2017).",
    )
    forget_bias: float | None = Field(
        default=1.0,
        description="Bias of an LSTM's forget gate at the start (Jozefowicz et al. 2015: 1). None: drawn as the rest.",
    )
    reset_token: int | None = Field(
        default=None,
        ge=0,
        description="Token before which the state is set to zero, such as the one that begins documents. None: it is"
        " carried from one document into the next.",
    )
    path: Literal["auto", "cells", "bptt", "torch"] = Field(
        default="auto",
        description="How sequences are computed, equal up to rounding: `cells`, the equations step by step; `bptt`,"
        " the gradient written out; `torch`, its kernels. `auto`: the fastest of the last two that can do it.",
    )

    @model_validator(mode="after")
    def _reset_token_in_vocabulary(self) -> Self:
        if self.reset_token is not None and self.reset_token >= self.vocab:
            raise ValueError(f"reset_token {self.reset_token} is no token of a vocabulary of {self.vocab}")
        if self.path == "torch" and self.reset_token is not None:
            raise ValueError("path: torch cannot reset the state inside a sequence: choose auto, or no reset_token")
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """The width of each layer, from the bottom."""
        return (*(self.width,) * (self.layers - 1), self.embedding if self.tied else self.width)

    def parameter_count(self) -> int:
        """Trainable numbers, a tied head counted once; a layer has gates * width * (inputs + width + 2)."""
        inputs = (self.embedding, *self.widths[:-1])
        cells = sum(GATES[self.cell] * w * (i + w + 2) for i, w in zip(inputs, self.widths, strict=True))
        head = self.vocab + (0 if self.tied else self.vocab * self.widths[-1])
        return self.vocab * self.embedding + cells + head


class StreamConfig(StrictModel):
    """How a text is read in lanes, segment by segment, the state carried from one to the next."""

    bptt: int = Field(default=70, ge=1, description="Tokens of a segment: how far back gradients reach.")
    random: bool = Field(
        default=False,
        description="Segments of random length: Normal(bptt, 5), in 5 % of all cases Normal(bptt / 2, 5), at least 5;"
        " the learning rate is scaled by length / bptt (Merity et al. 2017, section 5).",
    )
    reset: bool = Field(
        default=False,
        exclude_if=lambda on: not on,  # the keys of models without it stay what they were
        description="The state is set to zero where a document begins; false: it is carried on from the one before, or"
        " as the model does it that training goes on from.",
    )
    alpha: float = Field(
        default=0.0, ge=0.0, description="Weight of AR, the mean square of the last layer's dropped outputs (AWD: 2)."
    )
    beta: float = Field(
        default=0.0, ge=0.0, description="Weight of TAR, the mean square of its change from step to step (AWD: 1)."
    )


RNN_PRESETS: dict[str, RNNConfig] = {
    # Zaremba et al. 2014, section 4.1; dropout at each level, none on the recurrence.
    "zaremba-medium": RNNConfig(
        embedding=650,
        width=650,
        layers=2,
        vocab=10_000,
        input_dropout=0.5,
        hidden_dropout=0.5,
        output_dropout=0.5,
        initial_span=0.05,
        forget_bias=None,
    ),
    "zaremba-large": RNNConfig(
        embedding=1500,
        width=1500,
        layers=2,
        vocab=10_000,
        input_dropout=0.65,
        hidden_dropout=0.65,
        output_dropout=0.65,
        initial_span=0.04,
        forget_bias=None,
    ),
    # Merity et al. 2017 (salesforce/awd-lstm-lm, the Penn Treebank command of its README).
    "awd-lstm": RNNConfig(
        embedding=400,
        width=1150,
        layers=3,
        vocab=10_000,
        tied=True,
        input_dropout=0.4,
        hidden_dropout=0.25,
        output_dropout=0.4,
        locked=True,
        embedding_dropout=0.1,
        weight_dropout=0.5,
        forget_bias=None,
    ),
    # Ours, for small machines: three of about the same size at 65 characters, and one for subwords.
    "char-elman": RNNConfig(cell="elman", embedding=64, width=452, vocab=65),
    "char-gru": RNNConfig(cell="gru", embedding=64, width=256, vocab=65),
    "char-lstm": RNNConfig(cell="lstm", embedding=64, width=219, vocab=65),
    "small-lstm": RNNConfig(embedding=256, width=512, layers=2, vocab=8192, tied=True, output_dropout=0.1),
}


def rnn_preset(name: str, vocab: int | None = None, **overrides: Any) -> RNNConfig:
    """A preset by name, with the tokenizer's vocabulary and further fields replaced.

    Raises ValueError naming the nearest preset if there is none of that name.
    """
    return from_preset(RNN_PRESETS, name, vocab=vocab, **overrides)
