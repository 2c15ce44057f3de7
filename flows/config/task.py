"""The configuration of a task: what it asks, where its examples are, and what is checked before they are used."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from flows.config.curation import Section
from flows.config.loading import CONFIGS, ConfigError, files_named, loader
from lm.labelled.folder import Task
from lm.labelled.forms import AnyForm
from lm.labelled.read_config import HubConfig, ReadConfig, SplitSource, fields_of, require_fields
from tasks.labelled_checks import ChecksConfig
from tasks.labelled_set import CutConfig, LabelledSetRequest, SplitFiles
from tasks.running.run import Resources


class CutSection(Section):
    """Splits that are not given are cut from `train`: each example by the hash of its group, so that texts that belong
    together (pairs that share one, questions of one context) stay on one side, whatever else there is."""

    valid: float = Field(default=0.1, ge=0, lt=1, description="Without `valid`: this share of groups.")
    test: float = Field(default=0.0, ge=0, lt=1, description="Without `test`: this share of groups.")
    salt: str = Field(default="task", description="Another word, another cut.")
    columns: tuple[str, ...] = Field(
        default=(),
        description="Examples that share a text in one of these columns are of one group. None: both texts of a pair,"
        " context, words, source and target.",
    )

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError(f"valid {self.valid} + test {self.test} leaves nothing to train on")
        return self


class LimitsSection(Section):
    """How many examples are kept, those with the least hash: 100 are among 1,000 are among all."""

    train: int | None = Field(default=None, ge=1, description="Training examples; null: all.")
    valid: int | None = Field(default=None, ge=1, description="Examples to choose a model by.")
    test: int | None = Field(default=None, ge=1, description="Examples to test with.")
    salt: str = Field(default="limit", description="Another word, other examples.")


class TaskConfig(Section):
    """A task that a model can be tuned on."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", description="Name of runs: letters, digits, dashes, dots.")
    language: str = Field(default="en", description="BCP 47 tag of its texts.")
    license: str | None = Field(
        default=None,
        description="Licence of the set, best as an SPDX identifier. It is written on the cards of models.",
    )
    ask: AnyForm = Field(description="The form of its examples, and its labels.")
    metrics: tuple[str, ...] = Field(
        default=(), description="What is reported; the first chooses the best model. None: as is usual for the form."
    )
    hub: HubConfig | None = Field(default=None, description="Where splits are that name no files.")
    read: ReadConfig = Field(default=ReadConfig(), description="How files, and records of the hub, become examples.")
    train: SplitSource = Field(default=SplitSource(split="train"), description="Examples to learn from.")
    valid: SplitSource | None = Field(
        default=None, description="Examples to choose a model by. null: cut from `train` (see `cut`)."
    )
    test: SplitSource | None = Field(default=None, description="Examples to test with, once. null: none, or cut.")
    cut: CutSection = Field(default=CutSection(), description="Splits that are not given.")
    limits: LimitsSection = Field(default=LimitsSection(), description="Small parts of a set.")
    checks: ChecksConfig = Field(default=ChecksConfig(), description="What is done about what the checks find.")
    resources: Resources = Field(default=Resources(), description="What the machine gives; changes no result.")

    @model_validator(mode="after")
    def _fields_are_the_forms(self) -> Self:
        known = fields_of(self.ask)
        for where, names, valid in (
            ("read.fields", tuple(self.read.fields), known),
            ("cut.columns", self.cut.columns, tuple(self.ask.columns)),
            ("checks.columns", self.checks.columns, self.ask.inputs),
        ):
            require_fields(self.ask, where, names, valid)
        for name in ("train", "valid", "test"):
            source: SplitSource | None = getattr(self, name)
            if source is not None and source.files and source.packages:
                raise ValueError(f"{name}: give either files or packages, not both")
            if source is None or source.files or source.packages:
                continue
            if self.hub is None or source.split is None:
                raise ValueError(f"{name}: name files, or a split of the hub (hub.id and {name}.split)")
        return self

    def task(self) -> Task:
        """What a set of it says that it asks."""
        metrics = self.metrics or self.ask.default_metrics()
        return Task(name=self.name, language=self.language, ask=self.ask, metrics=metrics)

    def request(self) -> LabelledSetRequest:
        """What the stage builds: files found and hashed, the hub's commit asked for.

        Raises:
            ConfigError: an environment variable that is not set, or a pattern that no file matches.
            BadInput: a file that is not there, a hub that cannot be asked.
        """
        sources = {name: self._files(getattr(self, name)) for name in ("train", "valid", "test")}
        assert sources["train"] is not None
        return LabelledSetRequest(
            task=self.task(),
            read=self.read,
            train=sources["train"],
            valid=sources["valid"],
            test=sources["test"],
            cut=CutConfig(
                valid=0.0 if self.valid else self.cut.valid,
                test=0.0 if self.test else self.cut.test,
                salt=self.cut.salt,
                columns=self.cut.columns or self.ask.grouped_by,
            ),
            limits=self.limits.model_dump(include={"train", "valid", "test"}),
            limit_salt=self.limits.salt,
            checks=self.checks,
            license=self.license,
        )

    def _files(self, source: SplitSource | None) -> SplitFiles | None:
        if source is None:
            return None
        if source.files:
            return SplitFiles.of(files_named(source.files), files_named(source.targets))
        if source.packages:
            return SplitFiles.of(_of_packages(source.packages))
        assert self.hub is not None
        assert source.split is not None
        return SplitFiles.on_hub(self.hub, source.split, source.data_files)


def _of_packages(packages: tuple[str, ...]) -> tuple[Path, ...]:
    """The Python files of installed packages, in the order of their names; nothing is imported. Raises ConfigError for
    a package that is not installed."""
    from data_quality.config import PythonDocsSource
    from data_quality.sources.base import SourceNotFound
    from data_quality.sources.python_docs import find_files

    source = PythonDocsSource(format="python_docs", packages=packages)
    try:
        found = sorted((relative, path) for path, relative, _ in find_files(source))
    except SourceNotFound as error:
        raise ConfigError(str(error)) from error
    kept = [
        Path(path) for relative, path in found if not any(fnmatchcase(relative, pattern) for pattern in source.exclude)
    ]
    return tuple(kept)


load_task = loader(TaskConfig)


def load_shipped_task(name: str, limits: Mapping[str, int], *forms: str) -> TaskConfig:
    """A task by the path of its YAML file or by the name of a shipped one, with limits of its splits.

    Raises:
        ConfigError: as `load_task`; no such file or task, with the shipped ones; one of another form than these.
    """
    shipped = CONFIGS / "tasks"
    path = next((path for path in (Path(name), shipped / f"{name}.yaml") if path.is_file()), None)
    if path is None:
        names = ", ".join(str(p.relative_to(shipped).with_suffix("")) for p in sorted(shipped.rglob("*.yaml")))
        raise ConfigError(f"task: {name} is no file and no shipped task; there are {names}")
    task = load_task(path, {f"limits.{split}": str(count) for split, count in limits.items()})
    if forms and task.ask.form not in forms:
        raise ConfigError(f"{path}: a task of form {task.ask.form}; {' or '.join(forms)} is needed")
    return task
