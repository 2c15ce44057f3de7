"""Configuration of boilerplate: lines or paragraphs that many documents share."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from data_quality.config.base import StrictModel
from data_quality.config.presets import with_preset

BOILERPLATE_PRESETS: dict[str, dict[str, Any]] = {
    # facebookresearch/cc_net dedup.py: a line's SHA-1 after text_normalizer.py (lower case, digits to 0); the first
    # copy in 50 shards stays. It also strips accents and punctuation, which is not done here.
    "cc_net": {
        "enabled": True,
        "table": {"min_letters": 1, "ignore_digits": True},
        "scope": "corpus",
        "min_documents": 2,
        "min_share": None,
        "keep_first": True,
        "min_left_characters": 300,
    },
    # allenai/dolma deduper "paragraphs": text between line breaks, as it stands, by Bloom filter; the first copy stays.
    "dolma": {
        "enabled": True,
        "table": {"min_letters": 1, "ignore_case": False, "ignore_white_space": False},
        "scope": "corpus",
        "min_documents": 2,
        "min_share": None,
        "keep_first": True,
        "min_left_characters": 1,
    },
}
"""The line dedupe of other projects, as near as this step comes to it."""


class LineTableConfig(StrictModel):
    """What counts as one line; a change hashes every line again."""

    unit: Literal["line", "paragraph"] = Field(
        default="line",
        description="line: up to a line break. paragraph: up to a blank line. What cc_net and Dolma call a paragraph "
        "is a line here.",
    )
    min_letters: int = Field(
        default=16,
        ge=1,
        description="A line with fewer letters is never boilerplate: rules of dashes, numbers, short headings. A Han, "
        "Kana or Hangul character counts two, as it is wide.",
    )
    ignore_case: bool = Field(default=True, description="Whether lines that differ in case only are the same line.")
    ignore_digits: bool = Field(
        default=False,
        description="Whether lines that differ in decimal digits only are the same (page 3 of 10). Off: tables of "
        "numbers would go.",
    )
    ignore_white_space: bool = Field(
        default=True, description="Whether a run of white space equals one space. White space at the ends never counts."
    )


class BoilerplateConfig(StrictModel):
    """Which lines are boilerplate, and what becomes of the documents that hold them."""

    preset: str | None = Field(
        default=None,
        exclude=True,
        description=f"The line dedupe of {' or '.join(BOILERPLATE_PRESETS)}, as near as this step comes to it; it "
        "enables the section. Fields given beside it win. It is replaced by these values when the configuration is "
        "read.",
    )
    enabled: bool = Field(default=False, description="Whether boilerplate lines are removed.")
    table: LineTableConfig = Field(default=LineTableConfig(), description="What counts as one line.")
    scope: Literal["source", "corpus"] = Field(
        default="source", description="Whether documents are counted in each source by itself or in the whole corpus."
    )
    min_documents: int = Field(
        default=100, ge=2, description="A line that stands in so many documents of the scope is boilerplate."
    )
    min_share: float | None = Field(
        default=0.2,
        gt=0,
        le=1,
        description="So is a line in this share of the documents of the scope, if these are at least "
        "min_share_documents. null: the number alone decides.",
    )
    min_share_documents: int = Field(
        default=10, ge=2, description="Fewer documents than this are no evidence, whatever their share."
    )
    keep_first: bool = Field(
        default=False,
        description="Whether the first occurrence stays, in the document with the lowest id: what cc_net and Dolma do "
        "with every line that comes twice.",
    )
    min_left_characters: int = Field(
        default=50,
        ge=0,
        description="A document that lost lines and has fewer characters left than this is dropped.",
    )
    min_left_share: float = Field(
        default=0.0, ge=0, le=1, description="So is one that has a smaller share of its characters left than this."
    )

    @model_validator(mode="before")
    @classmethod
    def _resolve_preset(cls, given: Any) -> Any:
        return with_preset(given, BOILERPLATE_PRESETS)

    @model_validator(mode="after")
    def _share_documents_below_documents(self) -> Self:
        if self.min_share is not None and self.min_share_documents > self.min_documents:
            raise ValueError(
                f"min_share_documents is {self.min_share_documents}, more than min_documents {self.min_documents}: "
                "the share would never decide; lower it, or set min_share to null"
            )
        return self
