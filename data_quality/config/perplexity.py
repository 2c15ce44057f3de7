"""Configuration of perplexity buckets."""

from typing import Literal, Self

from pydantic import Field, model_validator

from data_quality.config.base import StrictModel
from data_quality.config.classifier import Selection


class PerplexityConfig(StrictModel):
    """Perplexity under a language model of good text, and head, middle and tail of each language (cc_net).

    Wenzek et al. 2019, arXiv 1911.00359, section 3.4; percentiles as facebookresearch/cc_net `perplexity.py`.
    """

    enabled: bool = Field(False, description="Whether perplexity is computed.")
    reference: Selection = Field(
        Selection(),
        description="What the language model is made from, for each language apart. Default: the corpus.",
    )
    model: Literal["auto", "unigram", "ngram"] = Field(
        "auto",
        description="`ngram`: modified Kneser-Ney over byte-level BPE tokens, both learned from the reference, as "
        "cc_net's KenLM over SentencePiece. `unigram`: frequencies of words. `auto`: ngram where a reference is named; "
        "of the whole corpus an n-gram model would find least surprising what it was made from.",
    )
    order: int = Field(5, ge=2, le=6, description="`ngram`: longest n-gram (cc_net: 5).")
    vocab_size: int = Field(16_384, ge=257, le=65_536, description="`ngram`: tokens of each language's tokenizer.")
    sample_bytes: int = Field(
        100_000_000,
        ge=1,
        description="`ngram`: UTF-8 bytes of reference of each language that are used at most; documents in the order "
        "of the hash of their text.",
    )
    head: float = Field(30.0, gt=0, lt=100, description="Percentile of a language's documents up to which is `head`.")
    middle: float = Field(60.0, gt=0, lt=100, description="Percentile up to which is `middle`; the rest is `tail`.")
    minimum_documents: int = Field(
        20, ge=1, description="A language with fewer documents is not divided: its bucket is `all`."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.head >= self.middle:
            raise ValueError(f"perplexity.head {self.head} must be below perplexity.middle {self.middle}")
        if self.model == "ngram" and self.reference == Selection():
            raise ValueError(
                "perplexity.model: an n-gram model of the whole corpus would find least surprising what it was made "
                "from: name a perplexity.reference, or take unigram"
            )
        return self

    def resolved(self) -> "PerplexityConfig":
        """With `auto` replaced."""
        if self.model != "auto":
            return self
        return self.model_copy(update={"model": "unigram" if self.reference == Selection() else "ngram"})
