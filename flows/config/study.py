"""The configuration of a study: systems, numbers of labels and seeds that are compared on the same tasks."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from flows.config.curation import Section
from flows.config.loading import ConfigError, loader, shipped
from flows.config.seeds import Seeds
from lm.finetune.config import BaselineConfig, FinetuneConfig
from lm.finetune.presets import FINETUNE_PRESETS, finetune_preset
from tasks.running.run import Resources

Labels = Annotated[int, Field(ge=1)] | Literal["all"]
SMOKE_LABELS = (8, 16)
SMOKE_HELD_OUT = 16


class SystemSection(Section):
    """One of the systems that are compared."""

    kind: Literal["finetune", "bag_of_words"] = Field(
        default="finetune",
        description="`bag_of_words`: logistic regression without a model, on tf-idf of a text's words or, to tag a"
        " word, on its spelling and its neighbours.",
    )
    model: str | None = Field(default=None, description="With `finetune`: one of the study's `models`.")
    preset: str = Field(default="small-gpt", description=f"Settings to begin with: {', '.join(FINETUNE_PRESETS)}.")
    settings: dict[str, Any] = Field(default={}, description="What differs from the preset, as in a fine-tuning.")
    settings_at: dict[str, dict[str, Any]] = Field(
        default={}, description="What differs further at a number of labels, by that number (`'100'`, `all`)."
    )
    tasks: tuple[str, ...] | None = Field(default=None, description="Only these of the tasks; null: all.")
    against: str | None = Field(
        default=None, description="The system that it is compared with at the same labels; null: the `baseline`."
    )
    baseline: BaselineConfig = Field(default=BaselineConfig(), description="Of a bag of words.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.model is None) != (self.kind == "bag_of_words"):
            raise ValueError("a system of kind finetune names a `model`; one of kind bag_of_words names none")
        return self


class StudyConfig(Section):
    """Systems against each other, for each task and number of labels, over several seeds."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", description="Name of runs: letters, digits, dashes, dots.")
    tasks: tuple[str, ...] = Field(min_length=1, description="Tasks' YAML files, or names of shipped ones.")
    models: dict[str, str] = Field(
        default={}, description="Pretrained models by the name that systems give them: artifact, alias or folder."
    )
    systems: dict[str, SystemSection] = Field(min_length=1, description="What is compared, by name.")
    baseline: str = Field(description="The system that every other one is compared with, at the same labels.")
    labels: tuple[Labels, ...] = Field(
        default=(100, 1000, "all"),
        min_length=1,
        description="How many training examples: those with the least hash, so that 100 are among 1,000.",
    )
    seeds: Seeds = Field(default=(0, 1, 2), description="Runs of every system.")
    held_out: dict[Literal["valid", "test"], int] = Field(
        default={}, description="Examples of `valid` and `test` at most; none: all."
    )
    settings_at: dict[str, dict[str, Any]] = Field(
        default={}, description="Settings of all systems at a number of labels; what a system says goes before."
    )
    metric: str | None = Field(default=None, description="What is compared; null: each task's first.")
    resources: Resources = Field(default=Resources(), description="What the machine gives; changes no result.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.baseline not in self.systems:
            raise ValueError(f"baseline: {self.baseline!r} is no system; there are {', '.join(self.systems)}")
        for where, at in (("", self.settings_at), *((f"systems.{n}.", s.settings_at) for n, s in self.systems.items())):
            if other := [size for size in at if size != "all" and not size.isdecimal()]:
                raise ValueError(f"{where}settings_at: {other[0]!r} is no number of labels, nor `all`")
        for name, system in self.systems.items():
            if system.against is not None and system.against not in self.systems:
                there = ", ".join(self.systems)
                raise ValueError(f"systems.{name}.against: {system.against!r} is no system; there are {there}")
            for task in system.tasks or ():
                if task not in self.tasks:
                    raise ValueError(f"systems.{name}.tasks: {task!r} is none of {', '.join(self.tasks)}")
            if system.kind == "finetune":
                for size in self.labels:
                    try:
                        self.settings_of(system, size)
                    except ValueError as error:
                        raise ValueError(f"systems.{name}: {error}") from error
        return self

    def settings_of(self, system: SystemSection, labels: Labels) -> FinetuneConfig:
        """The settings of a system at a number of labels: the preset's, the study's, its own, each over the former.

        Raises ValueError (of pydantic) for a key that there is not.
        """
        given = [
            finetune_preset(system.preset).model_dump(),
            self.settings_at.get(str(labels), {}),
            system.settings,
            system.settings_at.get(str(labels), {}),
        ]
        return FinetuneConfig.model_validate({name: value for part in given for name, value in part.items()})

    def model_of(self, system: SystemSection) -> str:
        """The artifact or folder of a system's model. Raises ConfigError if none is named."""
        assert system.model is not None
        if system.model not in self.models:
            there = ", ".join(self.models) or "none yet"
            raise ConfigError(
                f"no model {system.model!r}: give --model {system.model}=NAME (an artifact, an alias or a folder), or"
                f" set it under `models`; there are {there}"
            )
        return self.models[system.model]

    def smoke(self) -> "StudyConfig":
        """The same with data and budget cut down so far that it ends in a minute; for tests."""
        sizes = SMOKE_LABELS[: len(self.labels)]
        systems = {}
        for name, system in self.systems.items():
            quick = {} if system.kind == "bag_of_words" else {"epochs": 1.0, "evaluations": 1}
            settings = {**system.settings, **quick}
            systems[name] = system.model_copy(update={"settings": settings, "settings_at": {}})
        return self.model_copy(
            update={
                "labels": sizes,
                "seeds": self.seeds[:1],
                "systems": systems,
                "settings_at": {},
                "held_out": {"valid": SMOKE_HELD_OUT, "test": SMOKE_HELD_OUT},
            }
        )


load_study = loader(StudyConfig)


shipped_study = shipped(load_study, "studies/labels.yaml")
"""What the flow runs when nothing else is said; it needs models."""
