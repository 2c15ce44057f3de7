"""A home with the quickstart's shape over the tiny corpus: built once in a process, copied for tests that change it."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flows.cli.main import app
from flows.config.pipeline import PipelineConfig
from flows.pipeline import build_all
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Artifact, Store
from tests.tasks.tiny_corpus import configuration, write_documents

PIN = "tokenizer-tiny"
TRAINED = "gardens:00.txt"  # in the training split
TWIN, KEPT = "gardens:original.txt", "gardens:copy.txt"


def build(root: Path, **changes: Any) -> dict[str, Any]:
    """Run the pipeline over `root/documents` in `root/home`; what it made by name."""
    write_documents(root / "documents")
    with use_run(quiet_run(root)):
        return build_all(settings(root, **changes))


def settings(root: Path, **changes: Any) -> PipelineConfig:
    """The tiny pipeline with one seed, and a pinned tokenizer, which `--smoke` would not use."""
    config = configuration(root / "documents", finetune={"seeds": [0]}, **changes)
    return config.model_copy(update={"tokenizer": config.tokenizer.model_copy(update={"pin": PIN})})


_built: list[Path] = []


def built_home(factory: pytest.TempPathFactory, name: str) -> Path:
    """A copy of a home that is built once in a process, with its documents."""
    if not _built:
        root = factory.mktemp("lineage")
        build(root)
        _built.append(root)
    return copied(_built[0], factory.mktemp(name))


def quiet_run(root: Path) -> Run:
    os.environ["TEXTMILL_HOME"] = str(root / "home")
    return Run(Store(root / "home/store"), Resources(workers=1, threads=1), Display(quiet=True))


def copied(root: Path, to: Path) -> Path:
    """The same home elsewhere; its sources stay where they are."""
    shutil.copytree(root / "home", to / "home")
    (to / "documents").symlink_to((root / "documents").resolve())
    return to


def textmill(root: Path, *arguments: str) -> Result:
    """A command in a home, in this process."""
    os.environ["TEXTMILL_HOME"] = str(root / "home")
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def artifact(root: Path, stage: str) -> Artifact:
    """The newest of a stage."""
    found = Store(root / "home/store").newest(stage)
    assert found is not None
    return found
