"""`textmill evaluate`: put a model to exams; what was asked before is read from the store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows import services
from flows.exam_config import expanded, files
from flows.loading import ConfigError
from tasks.exam import Content, ExamRequest, exam, read_exam
from tasks.exam_config import AnyExam
from tasks.files import read_json
from tasks.progress import Display
from tasks.run import Resources, Run, pipeline_run
from tasks.shared import open_store
from tasks.store import Artifact, Store

NEEDS_TRAINING = ("memorised", "contamination")
Given = Artifact | Path
"""A model or a labelled set: an artifact, or a folder."""


def evaluate(
    model: str, exams: Sequence[AnyExam], resources: Resources, quiet: bool, store: Store | None = None
) -> dict[str, Any]:
    """Put one model to exams, outside of Prefect; MLflow hears of it if it is up, or with the next `textmill up`.

    Returns model, kind and `exams`: name, exam (its kind), artifact, cached, items, figures, definition of each.

    Raises:
        ConfigError: no such model, labelled set or file, or an exam that the model cannot sit.
    """
    config = {"model": model, "exams": [each.model_dump(mode="json") for each in exams]}
    place = store or open_store(resources.store)
    given = resolved(place, model)
    requests = [request(place, given, each) for each in exams]
    run = Run(place, resources.resolved(), Display(quiet=quiet))
    if all(_known(run, *each) for each in requests):
        return _answered(model, given, [take(run, given, *each) for each in requests], [True] * len(exams))
    display, follow = Display(quiet=quiet), services.is_up("mlflow")
    with pipeline_run("evaluate", config, resources, store=place, display=display, follow=follow) as opened:
        taken = [take(opened, given, *each) for each in requests]
    cached = [record.state == "cached" for record in opened.records]
    return _answered(model, given, taken, cached)


def resolved(store: Store, name: str) -> Given:
    """The folder or the artifact that a name means. Raises StoreError if there is none."""
    folder = Path(expanded(name))
    return folder if folder.is_dir() else store.checked(name)


Inputs = dict[str, list[Artifact]]


def request(store: Store, model: Given, asked: AnyExam) -> tuple[ExamRequest, Inputs]:
    """What the stage is given. Raises ConfigError naming what is missing."""
    from lm.evaluate.prompts import load_template
    from lm.hardware import resolve_device

    inputs: Inputs = {name: [] for name in ("model", "labelled", "tokens", "split", "corpus")}
    given: dict[str, Any] = {"exam": asked, "device": resolve_device("auto")}
    try:
        if isinstance(model, Artifact):
            inputs["model"] = [model]
        else:
            given["model_folder"] = Content.of_model(model)
        if (name := getattr(asked, "labelled", None)) is not None:
            labelled = resolved(store, name)
            if isinstance(labelled, Artifact):
                inputs["labelled"] = [labelled]
            else:
                given["labelled_folder"] = Content.of_labelled(labelled)
        if paths := getattr(asked, "paths", ()):
            given["files"] = Content.of(files(paths))
        if (template := getattr(asked, "template", None)) is not None:
            given["template"] = load_template(expanded(template))
    except (FileNotFoundError, ValueError) as error:
        raise error if isinstance(error, ConfigError) else ConfigError(f"{asked.name}: {error}") from error
    if asked.kind in NEEDS_TRAINING or (asked.kind == "patterns" and not given.get("files")):
        inputs |= _training(store, model, asked)
    if asked.kind == "contamination" and not given.get("files") and getattr(asked, "labelled", None) is None:
        raise ConfigError(f"{asked.name}: name the items to look for: `paths` or `labelled`")
    return ExamRequest(**given), inputs


def _training(store: Store, model: Given, asked: AnyExam) -> Inputs:
    """What the model was trained on, from its lineage."""
    if not isinstance(model, Artifact):
        paths = ", or give `paths`" if asked.kind == "patterns" else ""
        raise ConfigError(f"{asked.name}: asks about the training documents, which a folder does not name: name an"
                          f" artifact{paths}")  # fmt: skip
    trained = _trained(store, model, asked)
    found = {name: _inputs(store, trained, name) for name in ("tokens", "split")}
    found["corpus"] = _inputs(store, found["tokens"][0], "corpus") if found["tokens"] else []
    if gone := [name for name, there in found.items() if not there]:
        raise ConfigError(f"{asked.name}: the {gone[0]} that {model.name} was made from are no longer in the store")
    return found


def _trained(store: Store, artifact: Artifact, asked: AnyExam) -> Artifact:
    """The nearest artifact, itself included, that was made from tokens and a split of their documents."""
    level, seen = [artifact], set()
    while level:
        for each in level:
            if {"tokens", "split"} <= set(each.manifest()["inputs"]):
                return each
        seen |= {each.key for each in level}
        next_ = [made for each in level for name in each.manifest()["inputs"] for made in _inputs(store, each, name)]
        level = [each for each in next_ if each.key not in seen]
    raise ConfigError(f"{asked.name}: {artifact.name} was not trained on tokens that its lineage names")


def _inputs(store: Store, artifact: Artifact, name: str) -> list[Artifact]:
    found = [store.find(each["stage"], each["key"]) for each in artifact.manifest()["inputs"].get(name, [])]
    return [each for each in found if each is not None]


def _known(run: Run, asked: ExamRequest, inputs: Inputs) -> bool:
    from tasks.run import use_run
    from tasks.stage import Call

    with use_run(run):
        return run.store.find(exam.name, Call(exam, asked, {**inputs}, "", run).key()) is not None


def take(run: Run, model: Given, asked: ExamRequest, inputs: Inputs) -> Artifact:
    from tasks.run import use_run

    try:
        with use_run(run):
            return exam(asked, label=f"{asked.exam.name}: {model.name}", **inputs)
    except (ValueError, RuntimeError) as error:  # what the exam says of the model or of its items
        if type(error) not in (ValueError, RuntimeError):
            raise
        raise ConfigError(f"{asked.exam.name}: {error}") from error


def _answered(model: str, given: Given, taken: list[Artifact], cached: list[bool]) -> dict[str, Any]:
    folder = given.path if isinstance(given, Artifact) else given
    return {
        "model": given.name if isinstance(given, Artifact) else model,
        "kind": str(read_json(folder / "config.json").get("kind", "gpt")),
        "exams": [
            {"artifact": artifact.name, "cached": known, **read_exam(artifact)}
            for artifact, known in zip(taken, cached, strict=True)
        ],
    }
