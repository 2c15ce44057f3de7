"""Sizes of ELMo's bidirectional language model; importable without torch."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lm.config import StrictModel
from lm.presets import from_preset

CHARACTERS = 262
"""Ids that a word's characters can have (`lm.characters`)."""


class ELMoConfig(StrictModel):
    """A bidirectional language model over words that it reads by their characters (Peters et al. 2018)."""

    kind: Literal["elmo"] = Field(default="elmo", description="Which model these settings are for.")
    characters: int = Field(
        default=50, ge=3, description="UTF-8 bytes of a word that are read, the marks of its begin and end included."
    )
    character_width: int = Field(default=16, ge=1, description="Width of a character's vector.")
    filters: tuple[tuple[int, int], ...] = Field(
        default=((1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024)),
        min_length=1,
        description="Convolutions over a word's characters: (characters wide, how many).",
    )
    highways: int = Field(default=2, ge=0, description="Highway layers behind the convolutions.")
    width: int = Field(default=512, ge=1, description="Width of a word's vector and of each layer's output.")
    layers: int = Field(default=2, ge=1, description="LSTM layers in each direction.")
    cell_width: int | None = Field(
        default=4096,
        ge=1,
        description="Width of an LSTM's memory, projected to `width` at each step. Null: `width`, without a"
        " projection, which torch has a fast kernel for.",
    )
    clip: float | None = Field(
        default=3.0, gt=0.0, description="Memories and projections are kept within ± this; null: not at all."
    )
    dropout: float = Field(
        default=0.1, ge=0.0, lt=1.0, description="On the input of each LSTM layer and before the softmax."
    )
    vocab: int = Field(default=8192, ge=1, description="Words of its tokenizer.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.clip is not None and self.cell_width is None:
            raise ValueError("clip is for LSTMs with a projection: give a cell_width, or clip: null")
        if widest := [w for w, n in self.filters if not 1 <= w <= self.characters or n < 1]:
            raise ValueError(f"filters must be 1 to {self.characters} characters wide, not {widest[0]}, one at least")
        return self

    @property
    def filter_count(self) -> int:
        """Filters of all widths: what the convolutions give for a word."""
        return sum(count for _, count in self.filters)

    def parameter_count(self) -> int:
        """Trainable numbers; the two directions share words and softmax, not their LSTMs."""
        f, w, cell = self.filter_count, self.width, self.cell_width
        convolutions = sum(count * (size * self.character_width + 1) for size, count in self.filters)
        word = CHARACTERS * self.character_width + convolutions + self.highways * 2 * f * (f + 1) + (f + 1) * w
        lstm = 8 * w * (w + 1) if cell is None else 4 * cell * (2 * w + 1) + cell * w
        return word + 2 * self.layers * lstm + self.vocab * (w + 1)


ELMO_PRESETS: dict[str, ELMoConfig] = {
    # allenai/bilm-tf `bin/train_elmo.py`; its vocabulary has 793,471 words, which is the tokenizer's affair here.
    "original": ELMoConfig(),
    # Ours, for small machines.
    "small": ELMoConfig(
        filters=((1, 16), (2, 32), (3, 64), (4, 64)), highways=1, width=128, cell_width=None, clip=None, vocab=4096
    ),
    "base": ELMoConfig(
        filters=((1, 32), (2, 32), (3, 64), (4, 128), (5, 128)), width=256, cell_width=None, clip=None, vocab=16384
    ),
}


def elmo_preset(name: str, vocab: int | None = None, **overrides: Any) -> ELMoConfig:
    """A preset by name, with the tokenizer's vocabulary and further fields replaced.

    Raises ValueError naming the nearest preset if there is none of that name.
    """
    return from_preset(ELMO_PRESETS, name, vocab=vocab, **overrides)
