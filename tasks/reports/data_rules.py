"""What the report shows of rules, texts and the mixture, as plain data: part of `tasks.reports.data.ReportData`."""

from collections.abc import Sequence

from pydantic import Field

from data_quality.config import StrictModel


class Overlap(StrictModel):
    """How often two reasons hold for one document, first reason or not."""

    reasons: Sequence[str] = Field(description="Reasons, the most frequent first.")
    documents: Sequence[Sequence[int]] = Field(
        description="Row i, column j: documents for which both hold; on the diagonal those for which the one does."
    )
    left: int = Field(0, description="Rarer reasons that are not shown.")


class ThresholdCurve(StrictModel):
    """What one rule would drop at other thresholds, whatever other rules say."""

    reason: str
    signal: str = Field(description="The signals' column that the rule compares.")
    meaning: str = Field("", description="What the signal measures, in words.")
    operator: str = Field(description="A document goes if its signal is `operator` threshold: < <= > >=.")
    threshold: float = Field(description="The present threshold, one of `thresholds`.")
    logarithmic: bool = Field(False, description="Whether the thresholds are spaced by their ratio.")
    thresholds: Sequence[float] = Field(description="Rising.")
    documents: Sequence[int] = Field(description="Documents that would go at each threshold.")
    bytes: Sequence[int] = Field(description="UTF-8 bytes of those documents.")
    all_documents: int = Field(description="Documents of the corpus.")
    all_bytes: int


class LanguageRow(StrictModel):
    """One language, as read and as kept. Bytes are UTF-8, before anything leaves a kept text."""

    name: str
    documents: int
    bytes: int
    kept: int
    kept_bytes: int


class SpanKind(StrictModel):
    """Pieces of one kind that left the texts."""

    kind: str = Field(description="pii.email, line, substring, contamination, edits of a ruleset.")
    documents: int = Field(description="Documents that they left.")
    spans: int
    characters: int = Field(description="Of the normalised text; pieces of several kinds may cover the same ones.")
    replacements: Sequence[str] = Field(
        (), description="The first and the last of what stands in their place; empty: nothing does."
    )


class MixtureGroup(StrictModel):
    """One source or language of the mixture; sizes are in the mixture's unit."""

    name: str
    documents: int = Field(description="What there is: kept documents; of a training by tokens, those that train.")
    size: int = Field(description="Their size.")
    wanted: float = Field(description="Size to draw: on average, or of tokens with a budget at most.")
    drawn_documents: int = Field(description="Copies drawn.")
    drawn: int = Field(description="Their size.")
    epochs: float = Field(description="drawn / size.")


class Mixture(StrictModel):
    """How often the kept documents are drawn."""

    by: str = Field(description="The column that names a document's group: source, language.")
    unit: str = Field(description="documents, bytes, tokens.")
    groups: Sequence[MixtureGroup] = ()
