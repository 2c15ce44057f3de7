"""Configuration of perplexity buckets."""

from typing import Self

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
    head: float = Field(30.0, gt=0, lt=100, description="Percentile of a language's documents up to which is `head`.")
    middle: float = Field(60.0, gt=0, lt=100, description="Percentile up to which is `middle`; the rest is `tail`.")
    minimum_documents: int = Field(
        20, ge=1, description="A language with fewer documents is not divided: its bucket is `all`."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.head >= self.middle:
            raise ValueError(f"perplexity.head {self.head} must be below perplexity.middle {self.middle}")
        return self
