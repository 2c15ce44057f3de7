"""Configuration of the quality classifier."""

from typing import Any, Self

from pydantic import Field, model_validator

from data_quality.config.base import StrictModel
from data_quality.config.sources import SourceConfig


class Selection(StrictModel):
    """Some documents: of this corpus, or of sources read for this purpose."""

    read: tuple[SourceConfig, ...] = Field(
        (), description="Read these sources for it, as `ingest.sources`. Empty: the documents of the corpus itself."
    )
    sources: tuple[str, ...] = Field(
        ("*",), description="Take documents whose `source` matches one: * any characters, ? one."
    )
    ids: tuple[str, ...] = Field(("*",), description="And whose id matches one.")


class ClassifierConfig(StrictModel):
    """A linear classifier on hashed word n-grams: how much a document looks like the reference, as a signal.

    As DCLM (arXiv 2406.11794, section 4.4: instruction data against crawled pages) and FineWeb-Edu use one, in the
    linear form of fastText (Joulin et al. 2016, arXiv 1607.01759).
    """

    enabled: bool = Field(False, description="Whether `classifier_score` is computed.")
    reference: Selection = Field(Selection(), description="What good text looks like.")
    raw: Selection = Field(Selection(), description="What it is told from.")
    bits: int = Field(20, ge=8, le=26, description="Features are hashed into 2^bits weights.")
    ngrams: int = Field(2, ge=1, le=5, description="Word n-grams up to this length are features (DCLM: 2).")
    epochs: int = Field(5, ge=1, description="Passes over the training documents (fastText: 5).")
    learning_rate: float = Field(0.5, gt=0, description="Step of AdaGrad (Duchi et al. 2011).")
    l2: float = Field(1e-6, ge=0, description="Penalty on the squared weights, per document.")
    max_documents: int = Field(50_000, ge=2, description="Documents of each side at most, those with the least hashes.")
    held_out: float = Field(
        0.2, gt=0, lt=1, description="Share of them, by hash of the text, that calibrates and measures, and trains not."
    )
    seed: int = Field(0, ge=0, description="Order of the documents in training.")

    def key_material(self) -> dict[str, Any]:
        """What determines the classifier: what is read is an input of its own, known by its content."""
        return self.model_dump(mode="json", exclude={"enabled": True, "reference": {"read"}, "raw": {"read"}})

    @model_validator(mode="after")
    def _two_sides(self) -> Self:
        if self.enabled and self.reference == self.raw:
            raise ValueError("classifier.reference and classifier.raw select the same documents: name two corpora")
        return self
