"""Configuration of the labelled paragraphs."""

from typing import Self

from pydantic import Field, model_validator

from data_quality.config.base import StrictModel


class LabelledClass(StrictModel):
    """One class of the paragraph classification task: a documents' `source`, and the names that would give it away."""

    name: str = Field(min_length=2, description="Value of `source` whose paragraphs carry this label.")
    aliases: tuple[str, ...] = Field(
        default=(),
        description="Further names to mask: import names, the project's spoken name, customary abbreviations"
        " (`np`, `pd`, `sklearn`). The name itself, also with `-` and `_` exchanged, is always masked.",
    )


class LabelledConfig(StrictModel):
    """Which paragraphs become examples of "which library does this paragraph document?"."""

    classes: tuple[LabelledClass, ...] = Field(
        min_length=2, description="The classes; label i is the i-th entry, so the order is part of the task."
    )
    also_mask: tuple[str, ...] = Field(
        default=(),
        description="Names masked for all classes though they are no class (parent projects, hosts).",
    )
    mask: str = Field(default="[LIB]", min_length=1, description="Text put in place of a library name or import path.")
    inside_words: int = Field(
        default=5,
        ge=2,
        description="Names of at least this many characters are masked inside identifiers too"
        " (`TorchDispatchMode`); shorter ones only as whole words (`np`, not `input`).",
    )
    min_chars: int = Field(
        default=150,
        ge=1,
        description="Characters of a masked paragraph at least; shorter neighbours are joined.",
    )
    max_chars: int = Field(
        default=800,
        ge=2,
        description="Characters of a masked paragraph at most; longer ones are cut at a space.",
    )
    per_class: int = Field(default=30, ge=1, description="Training paragraphs of each class at most.")
    per_class_eval: int = Field(
        default=40, ge=1, description="Paragraphs of each class at most in each of valid and test."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [c.name for c in self.classes]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"classes named twice: {', '.join(twice)}")
        if self.min_chars > self.max_chars:
            raise ValueError(f"min_chars {self.min_chars} is above max_chars {self.max_chars}")
        return self
