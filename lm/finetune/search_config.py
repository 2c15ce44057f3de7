"""What is searched for the best settings of a fine-tuning, and how. Torch-free."""

import difflib
import itertools
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from lm.config import StrictModel
from lm.finetune.config import HOW, FinetuneConfig

NOT_SEARCHED = (*HOW, "seed", "initialisation")
"""Settings that change no result, and those that are no choice: every trial is run with every seed."""

Values = dict[str, Any]
"""A trial: what it changes, by dotted key of the settings (`learning_rate`, `lora.rank`)."""


class Range(StrictModel):
    """Every number between two: whole ones if both ends are."""

    low: int | float = Field(description="The least.")
    high: int | float = Field(description="The most.")
    log: bool = Field(default=False, description="Draw evenly in the logarithm: for rates.")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(f"low must be below high, and above 0 with log: {self.low}..{self.high}")
        return self


class SearchConfig(StrictModel):
    """How settings are looked for; the best on dev, by the mean over seeds, are chosen."""

    method: Literal["grid", "optuna"] = Field(
        default="grid",
        description="`grid`: every combination, the last key fastest. `optuna`: tree-structured Parzen estimator"
        " (Bergstra et al. 2011), which asks where earlier trials were good; needs the extra `search`.",
    )
    space: dict[str, tuple[Any, ...] | Range] = Field(
        min_length=1,
        description="By setting (`learning_rate`, `epochs`, `lora.rank`, ...): a list of values, or with `optuna` also"
        " a range: `{low: 1.0e-5, high: 1.0e-3, log: true}`.",
    )
    trials: int = Field(default=20, ge=1, description="With `optuna`: how many; a grid has as many as it has points.")
    first: int = Field(default=5, ge=1, description="With `optuna`: how many are drawn at random before it estimates.")
    seed: int = Field(default=0, ge=0, description="With `optuna`: decides its draws.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for key, choices in self.space.items():
            name = key.partition(".")[0]
            if name not in FinetuneConfig.model_fields or name in NOT_SEARCHED:
                known = [known for known in FinetuneConfig.model_fields if known not in NOT_SEARCHED]
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
                raise ValueError(f"space: {key!r} is no setting to be searched; {hint}")
            if isinstance(choices, Range) and self.method == "grid":
                raise ValueError(f"space: {key!r} is a range; a grid needs a list of values (or `method: optuna`)")
            if not isinstance(choices, Range) and not choices:
                raise ValueError(f"space: {key!r} has no values")
        return self

    def grid(self) -> list[Values]:
        """Every combination of the values; of a range its ends."""
        choices = [(c.low, c.high) if isinstance(c, Range) else c for c in self.space.values()]
        return [dict(zip(self.space, values, strict=True)) for values in itertools.product(*choices)]

    def check(self, settings: FinetuneConfig) -> None:
        """Raises ValueError naming the values that these settings cannot have, before anything is run."""
        for values in self.grid():
            with_values(settings, values)


def with_values(settings: FinetuneConfig, values: Mapping[str, Any]) -> FinetuneConfig:
    """The settings of a trial. Raises ValueError for values that they cannot have."""
    changed: dict[str, Any] = settings.model_dump()
    for key, value in values.items():
        *sections, last = key.split(".")
        node = changed
        for section in sections:
            if not isinstance(node.get(section), dict):
                node[section] = {}
            node = node[section]
        node[last] = value
    try:
        return FinetuneConfig.model_validate(changed)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        said = ", ".join(f"{key}={value}" for key, value in values.items())
        raise ValueError(f"space: {said}: {where}: {first['msg'].removeprefix('Value error, ')}") from error
