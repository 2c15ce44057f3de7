"""Configuration of normalisation."""

from typing import Literal

from pydantic import Field

from data_quality.config.base import StrictModel


class NormalizeConfig(StrictModel):
    """Unicode and whitespace normalisation of document text."""

    enabled: bool = Field(True, description="Whether text is normalised; if not, it goes on as it was read.")
    fix_mojibake: bool = Field(
        True,
        description="Repair text decoded with the wrong encoding (ftfy). Only lines with suspect characters pay.",
    )
    unicode_form: Literal["NFC", "NFKC"] | None = Field(
        "NFC",
        description="NFC keeps full-width punctuation; NFKC folds it to ASCII, and ligatures to letters.",
    )
    max_blank_lines: int = Field(2, ge=0, description="Longer runs of blank lines are cut to this many.")
    drop_empty: bool = Field(True, description="Leave out documents with no text after normalisation.")
