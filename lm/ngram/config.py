"""What an n-gram model is: its order, its smoothing, what is pruned."""

from typing import Literal, Self

from pydantic import Field, model_validator

from lm.config import StrictModel


class NgramConfig(StrictModel):
    """A statistical n-gram model. Counts are taken in one pass; there is nothing to train."""

    order: int = Field(default=5, ge=1, le=6, description="Longest n-gram: a token is predicted from order - 1.")
    smoothing: Literal[
        "mle", "add_k", "absolute_discounting", "kneser_ney", "modified_kneser_ney", "stupid_backoff"
    ] = Field(
        default="modified_kneser_ney",
        description="`mle`: relative frequencies, 0 for what was never seen; `add_k`: k added to each count;"
        " `absolute_discounting`, `kneser_ney`: one discount per order, interpolated; `modified_kneser_ney`: three;"
        " `stupid_backoff`: scores that do not sum to one. lm/ngram/smoothing.py has the equations.",
    )
    k: float = Field(default=0.01, gt=0.0, description="`add_k`: added to the count of each n-gram, seen or not.")
    backoff: float = Field(
        default=0.4,
        gt=0.0,
        le=1.0,
        description="`stupid_backoff`: factor for each order given up (Brants et al.: 0.4).",
    )
    discounts: tuple[float, ...] = Field(
        default=(),
        description="`absolute_discounting`, `kneser_ney`: the discount of each order, the last for all above;"
        " none: estimated from counts of counts.",
    )
    discount_fallback: tuple[float, float, float] = Field(
        default=(0.5, 1.0, 1.5),
        description="`modified_kneser_ney`: D1, D2, D3+ of an order whose counts of counts allow no estimate, as"
        " in lmplz --discount_fallback.",
    )
    prune: tuple[int, ...] = Field(
        default=(0,),
        description="For each order, the last for all above: n-grams seen this often or less are left out. Must not"
        " fall; 0 for order 1. 0 0 1 leaves out trigrams and longer ones seen once (lmplz --prune).",
    )
    min_count: int = Field(default=1, ge=1, description="Models of words only: a word seen less often becomes `<unk>`.")
    precision: Literal["float32", "float64"] = Field(
        default="float32", description="How probabilities are stored. They are computed in float64."
    )

    @model_validator(mode="after")
    def _thresholds_and_discounts(self) -> Self:
        if not self.prune or self.prune[0] != 0 or list(self.prune) != sorted(self.prune):
            raise ValueError(f"prune must begin with 0 and not fall, or parts of kept n-grams would go: {self.prune}")
        if len(self.prune) > self.order:
            raise ValueError(f"prune has {len(self.prune)} thresholds for {self.order} orders: {self.prune}")
        if self.discounts and self.smoothing not in ("absolute_discounting", "kneser_ney"):
            raise ValueError(f"discounts are for absolute_discounting and kneser_ney, not for {self.smoothing}")
        if not all(0.0 <= discount <= 1.0 for discount in self.discounts):
            raise ValueError(f"discounts must be within 0..1: {self.discounts}")
        if not all(0.0 <= discount <= count for count, discount in enumerate(self.discount_fallback, start=1)):
            raise ValueError(f"discount_fallback must be within 0..1, 0..2 and 0..3: {self.discount_fallback}")
        return self

    def threshold(self, order: int) -> int:
        """n-grams of this order (1-based) seen so often or less are pruned."""
        return self.prune[min(order, len(self.prune)) - 1]
