"""Configuration of the split into train, valid and test."""

from typing import Self

from pydantic import Field, model_validator

from data_quality.config.base import StrictModel


class SplitConfig(StrictModel):
    """Train, valid and test. Membership is a function of the document id and the salt alone, and permanent."""

    test_fraction: float = Field(default=0.01, ge=0, le=1, description="Share of document ids that are test.")
    valid_fraction: float = Field(default=0.01, ge=0, le=1, description="Share of document ids that are valid.")
    salt: str = Field(
        default="textmill",
        description="Hashed with the id. Another salt draws another test set: never change it for a living corpus.",
    )
    threshold: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="A training document with a true Jaccard similarity of at least this to a test or valid document "
        "is kept out of training.",
    )
    max_comparisons: int = Field(
        default=1000,
        ge=1,
        description="Test (or valid) documents that one document is compared with at most, those that share its "
        "smallest buckets first.",
    )

    @model_validator(mode="after")
    def _something_is_left_for_training(self) -> Self:
        if self.test_fraction + self.valid_fraction >= 1:
            raise ValueError(
                f"test_fraction {self.test_fraction} + valid_fraction {self.valid_fraction} leaves nothing to train on"
            )
        return self
