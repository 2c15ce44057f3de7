"""Configuration of the mixture: how often each document is drawn."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from data_quality.config.base import StrictModel
from data_quality.config.presets import with_preset


class FamilyWeight(StrictModel):
    """The weight of a document that stands for a family of duplicates."""

    min_size: int = Field(ge=1, description="Documents in the family, the kept one included, from which it counts.")
    weight: float = Field(ge=0, description="How often the kept document is drawn, relative to one without duplicates.")


FINEWEB2_REHYDRATION = (
    FamilyWeight(min_size=1, weight=1),
    FamilyWeight(min_size=2, weight=2),
    FamilyWeight(min_size=3, weight=3),
    FamilyWeight(min_size=5, weight=5),
    FamilyWeight(min_size=100, weight=8),
    FamilyWeight(min_size=1000, weight=1),
)
"""FineWeb-2's weights by size of the MinHash cluster (README of huggingface/fineweb-2, "rehydration")."""

MIXTURE_PRESETS: dict[str, dict[str, Any]] = {"fineweb2": {"enabled": True, "family_weights": FINEWEB2_REHYDRATION}}


class MixtureConfig(StrictModel):
    """How often each kept document is drawn: by its group, by its family, within a budget."""

    preset: str | None = Field(
        default=None,
        exclude=True,
        description="fineweb2: the family weights of FineWeb-2's rehydration; it enables the section. Fields given "
        "beside it win. It is replaced by these values when the configuration is read.",
    )
    enabled: bool = Field(default=False, description="Whether documents are weighted; if not, each is taken once.")
    by: Literal["source", "language"] = Field(default="source", description="The column that names a document's group.")
    unit: Literal["documents", "bytes", "tokens"] = Field(
        default="bytes",
        description="What sizes and the budget count. bytes are UTF-8. tokens are those of the tokenizer that a model "
        "is trained with, of training documents alone; `textmill clean` knows no such model, and counts those of its "
        "`tokenizer` in all that it keeps.",
    )
    weights: dict[str, float] = Field(
        default={},
        description="Weight of each group; 1 for those not named, 0 leaves a group out. Without a budget and at "
        "temperature 1 it is the number of epochs.",
    )
    temperature: float = Field(
        default=1.0,
        ge=1,
        description="T in p ~ weight * size^(1/T): 1 keeps the sizes' proportions, larger values draw small groups "
        "more often. Without a budget the largest group stays as it is and the others are raised towards it.",
    )
    budget: float | None = Field(
        default=None,
        gt=0,
        description="Total to draw, in `unit`: all groups are scaled by one factor to reach it. tokens are drawn up to "
        "the budget, never beyond it, and a group lacks less than a document of its share; documents and bytes are "
        "reached on average, and count what is held out for validation and test, too, and is not trained on. null: no "
        "scaling.",
    )
    max_epochs: float = Field(
        default=8.0,
        gt=0,
        description="Most passes over one group; what a budget cannot draw from it is drawn from the others.",
    )
    family_weights: tuple[FamilyWeight, ...] = Field(
        default=(FamilyWeight(min_size=1, weight=1),),
        description="Weight of a kept document by the size of its family of duplicates, ascending from size 1. "
        "FineWeb-2 (`preset: fineweb2`): 1, 2, 3 from size 3, 5 from 5, 8 from 100, 1 from 1000.",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of the draw.")

    @model_validator(mode="before")
    @classmethod
    def _resolve_preset(cls, given: Any) -> Any:
        return with_preset(given, MIXTURE_PRESETS)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        negative = sorted(name for name, weight in self.weights.items() if weight < 0)
        if negative:
            raise ValueError(f"the weight of {negative[0]!r} is negative: 0 leaves a group out")
        sizes = [step.min_size for step in self.family_weights]
        if not sizes or sizes[0] != 1 or sizes != sorted(set(sizes)):
            raise ValueError(f"family_weights begin at {sizes}: list ascending min_size, the first one 1")
        return self
