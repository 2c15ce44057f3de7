"""`textmill evaluate`: put a model to exams; what was asked before is read from the store."""

from collections.abc import Sequence
from typing import Any

from flows.config.loading import ConfigError, expanded, files_named
from flows.exam_lineage import lineage_of
from flows.given import given_labelled, given_model, task_named
from flows.servers import services
from lm.evaluate.prompts import Template, load_template
from lm.labelled.streams import BadInput
from tasks.exam import Content, ExamRequest, exam, read_exam
from tasks.exams.config import AnyExam
from tasks.exams.leaked import Checks
from tasks.running.progress import Display
from tasks.running.run import Plan, Resources, Run, current_run, pipeline_run, use_run
from tasks.running.secret_blocks import open_store_with
from tasks.storage.files import read_json
from tasks.store import Artifact, Store

NEEDS_TRAINING = ("memorised", "contamination")
Inputs = dict[str, list[Artifact]]


def evaluate(
    model: str, exams: Sequence[AnyExam], resources: Resources, quiet: bool, store: Store | None = None
) -> dict[str, Any]:
    """Put one model to exams, outside of Prefect; MLflow hears of it if it is up, or with the next `textmill up`.

    Returns model, kind and `exams`: name, exam (its kind), artifact, cached, items, figures, definition and `leaked`
    (how many items stand in the training documents, where `contamination` asked that) of each.

    Raises:
        ConfigError: no such model, labelled set or file, or an exam that the model cannot sit.
    """
    place = store or open_store_with(resources)
    known = asked_before(place, resources, model, exams)
    if known is not None:
        return _answered(place, known[0], known[1:], [True] * len(exams))
    config = {"model": model, "exams": [each.model_dump(mode="json") for each in exams]}
    display, follow = Display(quiet=quiet), services.is_up("mlflow")
    with pipeline_run("evaluate", config, resources, store=place, display=display, follow=follow) as opened:
        given = given_model(model)
        taken = [take(given, each) for each in exams]
    cached = [record.state == "cached" for record in opened.records if record.stage == exam.name]
    return _answered(place, given, taken, cached)


def asked_before(store: Store, resources: Resources, model: str, exams: Sequence[AnyExam]) -> list[Artifact] | None:
    """The model and its exams if the store has them all; None if anything is still to be made.

    Raises:
        ConfigError: as `evaluate`, before anything is begun.
    """
    with use_run(Run(store, resources.resolved(), Display(quiet=True), plan=Plan())):
        given = given_model(model)
        found = [given]
        for each in exams:
            asked, inputs = request(given, each)
            known = all(artifact.digest for artifacts in inputs.values() for artifact in artifacts)
            found.append(_exam(given, asked, inputs) if known else Artifact(exam.name, "", "", given.path))
    return found if all(artifact.digest for artifact in found) else None


def take(model: Artifact, asked: AnyExam) -> Artifact:
    """The exam of a model: found in the store, or asked now. Raises ConfigError as `evaluate`."""
    wanted, inputs = request(model, asked)
    try:
        return _exam(model, wanted, inputs)
    except (ValueError, RuntimeError) as error:  # what the exam says of the model or of its items
        if type(error) not in (ValueError, RuntimeError) and not isinstance(error, BadInput):
            raise
        raise ConfigError(f"{asked.name}: {error}") from error


def _exam(model: Artifact, asked: ExamRequest, inputs: Inputs) -> Artifact:
    [who] = inputs["model"]
    rest = {name: value for name, value in inputs.items() if name != "model"}
    return exam(asked, label=f"{asked.exam.name}: {model.name}", model=who, **rest)


def request(model: Artifact, asked: AnyExam) -> tuple[ExamRequest, Inputs]:
    """What the stage is given. Raises ConfigError naming what is missing or does not fit."""
    from lm.hardware import resolve_device

    inputs: Inputs = {name: [] for name in ("labelled", "tokens", "split", "corpus", "mixture")} | {"model": [model]}
    given: dict[str, Any] = {"exam": asked, "device": resolve_device("auto")}
    name, paths = getattr(asked, "labelled", None), getattr(asked, "paths", ())
    if asked.kind == "contamination" and not paths and name is None:
        raise ConfigError(f"{asked.name}: name the items to look for: `paths` or `labelled`")
    try:
        if (template := getattr(asked, "template", None)) is not None:
            given["template"] = load_template(expanded(template))
        if name is not None:
            inputs["labelled"] = [_labelled(name, given.get("template"))]
        if paths:
            given["files"] = Content.of(tuple(dict.fromkeys(files_named(paths))))
    except FileNotFoundError as error:
        raise ConfigError(f"{asked.name}: {error.filename}: no such file") from error
    except ValueError as error:
        raise ConfigError(f"{asked.name}: {error}") from error
    if (asked.kind in NEEDS_TRAINING or (asked.kind == "patterns" and not paths)) and model.digest:
        read, unknown = lineage_of(current_run().store, model, asked.name)
        given |= {"mixed": tuple(each.mixture is not None for each in read), "unknown": unknown}
        given["trained"] = tuple(each.trained for each in read)
        inputs |= {part: [getattr(each, part) for each in read] for part in ("tokens", "split", "corpus")}
        inputs["mixture"] = [each.mixture for each in read if each.mixture is not None]
    return ExamRequest(**given), inputs


def _labelled(name: str, template: Template | None) -> Artifact:
    """The set; whether a template fits it is said before anything is read, where a task says what it asks."""
    from lm.labelled.folder import LabelledSet

    if template is not None and (task := task_named(name)) is not None:
        template.check_fits(task.task())
    labelled = given_labelled(name)
    if template is not None and labelled.digest:
        template.check_fits(LabelledSet(labelled.path).task)
    return labelled


def _answered(store: Store, model: Artifact, taken: Sequence[Artifact], cached: Sequence[bool]) -> dict[str, Any]:
    checks = Checks(store)
    return {
        "model": model.name,
        "kind": str(read_json(model.path / "config.json").get("kind", "gpt")),
        "exams": [
            {"artifact": artifact.name, "cached": known, **read_exam(artifact), "leaked": checks.of(artifact)}
            for artifact, known in zip(taken, cached, strict=True)
        ],
    }
