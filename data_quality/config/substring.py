"""Configuration of exact substring deduplication."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from data_quality.config.base import StrictModel
from data_quality.config.dedupe import KeepConfig, by_text_and_source


class WindowConfig(StrictModel):
    """How long a repeated piece of text has to be; a change hashes every window again."""

    tokens: int = Field(
        default=50,
        ge=2,
        le=10_000,
        description="Tokens that have to be equal in a row: words, punctuation marks, or single Han, Kana and other "
        "characters of scripts without spaces. 50: Lee et al. 2022, RefinedWeb.",
    )


class SubstringConfig(StrictModel):
    """Removal of long pieces of text that stand, word for word, in another document too."""

    enabled: bool = Field(default=False, description="Whether repeated pieces of text are removed.")
    window: WindowConfig = Field(default=WindowConfig(), description="What is compared.")
    within_document: bool = Field(
        default=False,
        description="Whether a piece that a document repeats from earlier in itself is removed too, as Lee et al. do. "
        "Off: most are listings and tables that mean it, and the repetition rules judge the others.",
    )
    group_bytes: int = Field(
        default=512 << 20,
        ge=1 << 16,
        description="Memory for one group of windows. Windows are grouped by their hash, so the number of groups "
        "changes the memory and the time, never the result.",
    )
    min_left_characters: int = Field(
        default=50, ge=0, description="A document that lost text and has fewer characters left than this is dropped."
    )
    min_left_share: float = Field(
        default=0.0, ge=0, le=1, description="So is one that has a smaller share of its characters left than this."
    )
    keep: Annotated[KeepConfig, AfterValidator(by_text_and_source)] = Field(
        default=KeepConfig(), description="Which document keeps a piece that several hold: the first in this order."
    )

    def key_material(self) -> dict[str, Any]:
        """What determines the result: memory does not."""
        return self.model_dump(mode="json", exclude={"group_bytes"})
