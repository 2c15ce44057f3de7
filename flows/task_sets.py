"""Labelled sets: built from a task's configuration, and looked at before they are used."""

from pathlib import Path
from typing import Any

from flows.config.learning import LearningConfig
from flows.config.loading import ConfigError
from flows.config.task import TaskConfig, load_shipped_task
from lm.labelled.streams import BadInput
from tasks.adopt_labelled import AdoptLabelledConfig, adopt_labelled
from tasks.labelled_checks import Refused
from tasks.labelled_set import FINDINGS, PAGE, labelled_set
from tasks.lineage.recipe import is_stage
from tasks.running.progress import Display
from tasks.running.run import Run, current_run, use_run
from tasks.running.secret_blocks import open_store_with
from tasks.storage.files import read_json
from tasks.store import Artifact


def build_task(config: TaskConfig) -> Artifact:
    """The set of a task, found in the store or built: a folder for `lm.labelled.folder.LabelledSet`.

    Raises:
        ConfigError: files, labels or findings that cannot be used, with what to do.
    """
    part = "" if config.limits.train is None else f" {config.limits.train:,}"
    try:
        return labelled_set(config.request(), label=f"labelled set {config.name}{part}")
    except (BadInput, Refused) as error:
        raise ConfigError(str(error)) from error


def labelled_set_of(config: LearningConfig, *forms: str) -> Artifact:
    """The labelled set that a configuration names; of a task, one of these forms, if any are given.

    Raises:
        ConfigError: there is none, or it cannot be used.
    """
    if config.task is not None:
        limits = {str(split): count for split, count in config.limits.items()}
        return build_task(load_shipped_task(config.task, limits, *forms))
    assert config.data is not None
    folder = Path(config.data)
    if not folder.is_dir():
        return named_set(config.data)
    try:
        return adopt_labelled(AdoptLabelledConfig.of(folder))
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(f"data: {error}") from error


def named_set(name: str) -> Artifact:
    """A labelled set by the name of its artifact or its alias.

    Raises:
        ConfigError: it is called by its stage, whose newest artifact may be the set of any task.
        StoreError: there is none.
    """
    store = current_run().store
    if store.aliased(name) is None and is_stage(name):
        raise ConfigError(
            f"{name!r} is a stage, and its newest artifact may be the set of any task: name a task (`textmill task"
            f" ls`), or an artifact as `textmill ls {name}` lists them"
        )
    return store.checked(name)


def check_task(config: TaskConfig, quiet: bool) -> dict[str, Any]:
    """Build the set of a task, without a server, and return its findings with the artifact's name and page.

    Raises:
        ConfigError: as `build_task`.
    """
    run = Run(open_store_with(config.resources), config.resources.resolved(), Display(quiet=quiet))
    with use_run(run):
        made = build_task(config)
    page = made.file(PAGE)
    return {"artifact": made.name, "folder": str(made.path), "page": str(page), **read_json(made.file(FINDINGS))}


def show_findings(said: dict[str, Any]) -> None:
    """The page as the terminal shows it."""
    from rich.console import Console
    from rich.markdown import Markdown

    Console(highlight=False).print(Markdown(Path(said["page"]).read_text(encoding="utf-8")))
    print(f"\n{said['artifact']}: {said['folder']}")
