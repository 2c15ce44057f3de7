"""What a folder of word vectors says of itself, as the settings of a backbone; importable without torch."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field

from lm.config import StrictModel


class WordTableConfig(StrictModel):
    """A table of word vectors, word2vec's or GloVe's."""

    kind: Literal["word2vec", "glove"] = Field(description="What made the vectors.")
    words: int = Field(ge=1, description="How many words have a vector.")
    dimensions: int = Field(ge=1, description="Width of a vector.")
    unit: Literal["token", "word"] = Field(
        description="Whether words are a tokenizer's tokens or stand between blanks."
    )

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Self:
        """From a folder's config.json, which says more. Raises ValueError for one that does not say these."""
        return cls.model_validate({name: described[name] for name in cls.model_fields if name in described})

    def parameter_count(self) -> int:
        """Numbers of the vectors, which do not learn."""
        return self.words * self.dimensions

    @property
    def vocab(self) -> int:
        """Rows of the table: one for each word, and zeros for words without a vector."""
        return self.words + 1
