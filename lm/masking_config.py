"""What a masked language model is asked in pretraining: which tokens are hidden, and which segments stand together."""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from lm.config import StrictModel

SPANBERT_SPANS = tuple(0.2 * 0.8 ** (length - 1) for length in range(1, 11))
"""Geometric with p = .2, cut off beyond 10 (Joshi et al. 2020, section 3.1): a mean of 3.8 words."""


class MaskingConfig(StrictModel):
    """Which tokens are to be predicted, and what the model sees in their place (Devlin et al. 2019, section 3.1)."""

    rate: float = Field(default=0.15, gt=0.0, lt=1.0, description="Share of an example's tokens that are predicted.")
    max_predictions: int | None = Field(
        default=None, ge=1, description="Predicted tokens of an example at most. BERT: 20 of 128. None: rate * length."
    )
    masked: float = Field(default=0.8, ge=0.0, le=1.0, description="Share of them that is hidden.")
    random: float = Field(
        default=0.1, ge=0.0, le=1.0, description="Share that is replaced by any token; the rest stays as it is."
    )
    dynamic: bool = Field(
        default=True,
        description="Other masks in every epoch (RoBERTa); false: as many masks of an example as there are `passes`"
        " over the text, in turn (BERT).",
    )
    unit: Literal["token", "word"] = Field(
        default="token", description="`word`: all tokens of a word are predicted together (whole-word masking)."
    )
    chinese_words: bool = Field(
        default=False, description="`word`: Chinese words are found by a segmenter; false: each character is one."
    )
    spans: tuple[float, ...] = Field(
        default=(1.0,),
        description="How often 1, 2, 3, ... units that follow one another are predicted together. BERT: one; ALBERT: up"
        " to 3 words, p(n) ~ 1/n; MacBERT: .4 .3 .2 .1; SpanBERT: geometric, up to 10.",
    )
    fate: Literal["token", "word", "span"] = Field(
        default="token",
        description="Hidden, replaced or kept is drawn for each token, for a word (MacBERT) or for a span (SpanBERT).",
    )
    hidden_by: Literal["mask", "similar"] = Field(
        default="mask",
        description="What stands for what is hidden: the mask token; or a similar word of as many tokens, so that no"
        " mask token is ever seen (MacBERT).",
    )
    boundary: bool = Field(
        default=False, description="Predict from the ends of spans as well (SpanBERT); spans then never touch."
    )

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.masked + self.random > 1.0 + 1e-9:
            raise ValueError(f"masked {self.masked} and random {self.random} are more than all tokens")
        if not self.spans or min(self.spans) < 0 or not sum(self.spans) > 0 or not math.isfinite(sum(self.spans)):
            raise ValueError(f"spans must be weights of 1, 2, ... units, none negative: {self.spans}")
        if self.chinese_words and self.unit != "word":
            raise ValueError("chinese_words is for unit: word")
        if self.hidden_by == "similar" and (self.unit != "word" or self.fate == "token"):
            raise ValueError(
                "hidden_by: similar puts words in the place of words: it is for unit: word, fate: word or span"
            )
        return self

    def predictions(self, length: int) -> int:
        """How many of an example's `length` tokens, special ones counted, are predicted."""
        wanted = max(1, round(length * self.rate))
        return wanted if self.max_predictions is None else min(self.max_predictions, wanted)


class SegmentsConfig(StrictModel):
    """Which stretches of text stand in an example."""

    length: int = Field(default=128, ge=8, description="Tokens of an example at most, special ones counted.")
    pairs: Literal["nsp", "sop", "none"] = Field(
        default="nsp",
        description="`nsp`: two segments, the second one every other time from another document (BERT); `sop`: two that"
        " follow one another, every other time swapped (ALBERT); `none`: full sentences one after the other, over the"
        " ends of documents (RoBERTa, FULL-SENTENCES).",
    )
    short_probability: float = Field(
        default=0.1,
        ge=0.0,
        le=1.0,
        description="Documents that are cut into shorter examples, so that the model knows those too (BERT: .1).",
    )
    passes: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Different ways in which the text is cut into pairs, read one after the other in successive epochs"
        " (BERT's dupe_factor: 5).",
    )


# What the papers asked, by the name that the presets of `lm.models.bert_config` begin with; `bert-whole-word`, of
# BERT's second release, is asked for by name alone.
MASKING_PRESETS: dict[str, MaskingConfig] = {
    "bert": MaskingConfig(dynamic=False),
    "bert-whole-word": MaskingConfig(dynamic=False, unit="word"),
    "roberta": MaskingConfig(),
    "albert": MaskingConfig(dynamic=False, unit="word", spans=(1.0, 1 / 2, 1 / 3)),
    "spanbert": MaskingConfig(unit="word", spans=SPANBERT_SPANS, fate="span", boundary=True),
    "macbert": MaskingConfig(
        dynamic=False,
        unit="word",
        chinese_words=True,
        spans=(0.4, 0.3, 0.2, 0.1),
        fate="word",
        hidden_by="similar",
    ),
}
SEGMENTS_PRESETS: dict[str, SegmentsConfig] = {
    "bert": SegmentsConfig(),
    "roberta": SegmentsConfig(pairs="none"),
    "albert": SegmentsConfig(pairs="sop"),
    "spanbert": SegmentsConfig(pairs="none"),
    "macbert": SegmentsConfig(pairs="sop"),
}
