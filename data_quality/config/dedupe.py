"""Configuration of deduplication."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from data_quality.config.base import StrictModel
from data_quality.config.dedupe_presets import PRESETS
from data_quality.config.presets import with_preset

_PRESETS = ", ".join(PRESETS)


class SignatureConfig(StrictModel):
    """What a MinHash signature is made of; a change recomputes every signature."""

    preset: str | None = Field(
        default=None,
        exclude=True,
        description=f"Unit, size, bands and rows as one of {_PRESETS} has them; fields given beside it win. It is "
        "replaced by these values when the configuration is read.",
    )
    unit: Literal["word", "character"] = Field(
        default="word",
        description="What a shingle counts: words (a Han or Kana character is a word of its own) or characters "
        "of the normal form.",
    )
    size: int = Field(
        default=5,
        ge=1,
        le=100,
        description="Units per shingle. 5 words: FineWeb (datatrove), Lee et al. 2022. 13 characters: MAP-CC.",
    )
    numbers: Literal["zero", "keep"] = Field(
        default="zero",
        description="zero: all numbers are alike, as in datatrove, so that a page with another date or version is a "
        "near-duplicate. keep: they count as they are, for corpora of tables, statistics and release notes.",
    )
    bands: int = Field(
        default=14,
        ge=1,
        le=1000,
        description="Bands of the signature. A pair of Jaccard s is compared with probability 1-(1-s^rows)^bands; "
        "14 x 8 is FineWeb's.",
    )
    rows: int = Field(default=8, ge=1, le=128, description="Minimum hashes per band.")
    seed: int = Field(default=1, ge=0, lt=2**63, description="Seed of the hash functions.")

    @model_validator(mode="before")
    @classmethod
    def _resolve_preset(cls, given: Any) -> Any:
        return with_preset(given, PRESETS, ("unit", "size", "bands", "rows"))


class ExactDedupeConfig(StrictModel):
    """Removal of documents whose text is equal byte for byte."""

    enabled: bool = Field(default=True, description="Whether equal texts are removed.")


class NearDedupeConfig(StrictModel):
    """Removal of documents that are nearly equal to one that is kept."""

    preset: str | None = Field(
        default=None,
        exclude=True,
        description="The threshold that belongs to a preset of the signatures; a threshold given beside it wins.",
    )
    enabled: bool = Field(default=True, description="Whether near-duplicates are removed.")
    threshold: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="A document goes only if the true Jaccard similarity of its shingles with those of a kept document "
        "is at least this. 0.8: RedPajama, SlimPajama. At 0.7 pages and mails that only share a template go too.",
    )
    max_comparisons: int = Field(
        default=1000,
        ge=1,
        description="Kept documents that one document is compared with at most, those that share its smallest buckets "
        "first. Documents with more are kept if none of these is a twin, and counted as bounded.",
    )

    @model_validator(mode="before")
    @classmethod
    def _resolve_preset(cls, given: Any) -> Any:
        return with_preset(given, PRESETS, ("threshold",))


class KeepConfig(StrictModel):
    """Which document of a family of duplicates stays. Ties, and nothing else, are broken by id."""

    policy: Literal["longest", "shortest", "best_score", "oldest", "source_priority", "first_id"] = Field(
        default="longest",
        description="longest and shortest count characters; best_score takes the highest score of a table; oldest the "
        "earliest date of the metadata; source_priority goes by the list below; first_id takes the lowest id. After "
        "score, date and source, longest decides. A document that fails the rules comes after all that pass.",
    )
    source_priority: tuple[str, ...] = Field(
        default=(),
        description="Sources from most to least wanted; those not listed come last. Only for policy source_priority.",
    )
    score_column: str = Field(
        default="score",
        pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$",
        description="Column of the score table, higher is better; documents without a score come last. Only for "
        "policy best_score.",
    )
    date_field: str = Field(
        default="date",
        pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$",
        description="Field of the documents' metadata that holds an ISO 8601 date or time (UTC unless it says "
        "otherwise); documents without one come last. Only for policy oldest.",
    )

    @model_validator(mode="after")
    def _priority_goes_with_its_policy(self) -> Self:
        if bool(self.source_priority) != (self.policy == "source_priority"):
            raise ValueError(
                f"source_priority is {list(self.source_priority)} but policy is {self.policy!r}: "
                "list the sources and set policy to source_priority, or neither"
            )
        if len(set(self.source_priority)) != len(self.source_priority):
            raise ValueError(f"source_priority names a source twice: {list(self.source_priority)}")
        return self


def by_text_and_source(keep: KeepConfig) -> KeepConfig:
    """The policy of a step that knows a document's length, source and id only.

    Raises:
        ValueError: a policy that needs a table of scores or dates.
    """
    if keep.policy in ("best_score", "oldest"):
        raise ValueError(f"keep.policy {keep.policy!r} is for near-duplicates only: choose longest, shortest, ...")
    return keep


class DedupeConfig(StrictModel):
    """Exact and near deduplication. The signatures have a config of their own: they are made shard by shard."""

    exact: ExactDedupeConfig = Field(default=ExactDedupeConfig(), description="Equal texts.")
    near: NearDedupeConfig = Field(default=NearDedupeConfig(), description="Nearly equal texts.")
    keep: KeepConfig = Field(default=KeepConfig(), description="Which document of a family stays.")
