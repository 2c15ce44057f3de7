"""The configuration of the data half: what is read, and what is done to documents until a corpus is written.

The sections are the same for `textmill run` and `textmill clean`, and stand in the order in which they act. Each that
can be left out has `enabled`.
"""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from data_quality.config import (
    PRESETS,
    BoilerplateConfig,
    ClassifierConfig,
    DecontaminateConfig,
    DedupeConfig,
    ExactDedupeConfig,
    IngestConfig,
    KeepConfig,
    LanguageConfig,
    MixtureConfig,
    NearDedupeConfig,
    NormalizeConfig,
    PerplexityConfig,
    PiiConfig,
    QualityConfig,
    SignatureConfig,
    SubstringConfig,
    UrlDedupeConfig,
)
from data_quality.config.presets import with_preset
from tasks.running.run import Resources


class Section(BaseModel):
    """A frozen part of the configuration that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NearDedupeSection(SignatureConfig, NearDedupeConfig):
    """Near-duplicates: MinHash signatures, and the true similarity at which a document goes in favour of its twin."""

    keep: KeepConfig = Field(
        default=KeepConfig(), description="Which document of a family of equal or similar texts stays."
    )

    @model_validator(mode="before")
    @classmethod
    def _resolve_preset(cls, given: Any) -> Any:
        return with_preset(given, PRESETS)

    def signatures(self) -> SignatureConfig:
        """The part that signatures depend on."""
        return SignatureConfig.model_validate({name: getattr(self, name) for name in SignatureConfig.model_fields})

    def dedupe(self, exact: ExactDedupeConfig) -> DedupeConfig:
        """The part that decides, with that of exact duplicates: both are found in one step."""
        near = NearDedupeConfig.model_validate({name: getattr(self, name) for name in NearDedupeConfig.model_fields})
        return DedupeConfig(exact=exact, near=near, keep=self.keep)


class Curation(Section):
    """What every configuration of documents holds."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Name of runs and reports: letters, digits, dashes.")
    ingest: IngestConfig = Field(description="What is read.")
    max_files: int | None = Field(
        default=None, ge=1, description="Read only so many files, a sample of all sources: what `--smoke` sets."
    )
    normalize: NormalizeConfig = Field(default=NormalizeConfig(), description="Unicode and white space.")
    language: LanguageConfig = Field(default=LanguageConfig(), description="Which language a text is in.")
    url: UrlDedupeConfig = Field(default=UrlDedupeConfig(), description="Documents of one address.")
    exact: ExactDedupeConfig = Field(default=ExactDedupeConfig(), description="Equal texts.")
    near_dedupe: NearDedupeSection = Field(default=NearDedupeSection(), description="Nearly equal texts.")
    lines: BoilerplateConfig = Field(default=BoilerplateConfig(), description="Boilerplate: lines that many share.")
    substring: SubstringConfig = Field(
        default=SubstringConfig(), description="Long pieces of text that stand in another document too."
    )
    rules: QualityConfig = Field(default=QualityConfig(), description="Rules that drop documents.")
    perplexity: PerplexityConfig = Field(default=PerplexityConfig(), description="How surprising a text is.")
    classifier: ClassifierConfig = Field(
        default=ClassifierConfig(), description="How much a text looks like a reference."
    )
    pii: PiiConfig = Field(
        default=PiiConfig(), description="Personal data, replaced in every text that leaves the mill."
    )
    decontaminate: DecontaminateConfig = Field(
        default=DecontaminateConfig(), description="Documents that hold text of a benchmark."
    )
    mixture: MixtureConfig = Field(default=MixtureConfig(), description="How often each kept document is drawn.")
    resources: Resources = Field(default=Resources(), description="What the machine gives; changes no result.")

    @property
    def counts_tokens(self) -> bool:
        """Whether the mixture is drawn by tokens, and so after they are counted."""
        return self.mixture.enabled and self.mixture.unit == "tokens"

    @model_validator(mode="after")
    def _what_is_asked_for_is_made(self) -> Self:
        made = {"classifier_score": self.classifier.enabled, "perplexity": self.perplexity.enabled}
        column = self.near_dedupe.keep.score_column
        if self.near_dedupe.keep.policy == "best_score" and not made.get(column):
            raise ValueError(
                f"near_dedupe.keep: policy best_score needs a score, and {column!r} is not made: set score_column to "
                f"one of {', '.join(made)} and enable its section"
            )
        return self
