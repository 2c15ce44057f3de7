"""A study: systems x numbers of labels x seeds, each run an artifact, then one table and one picture of them all.

What was done is found in the store, so that a study that was killed goes on with the run that it was in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from prefect import flow

from flows.config.loading import ConfigError
from flows.config.named_file import FromFile
from flows.config.study import Labels, StudyConfig, shipped_study
from flows.config.task import TaskConfig, load_shipped_task
from flows.pretrain import named_model
from flows.running import prefect_run
from flows.task_sets import build_task
from lm.finetune.kinds import settings_of
from lm.finetune.scores import metric_of
from lm.train.non_finite import NonFiniteError
from tasks.finetune import FinetuneRequest, bag_of_words, finetune
from tasks.stage import sound_file
from tasks.storage.files import read_json
from tasks.store import Artifact
from tasks.study import Cell, StudyRequest, example_count, study


class Part(NamedTuple):
    """One system at one number of labels of one task."""

    task: TaskConfig
    labels: Labels
    examples: Artifact
    size: int  # its training examples
    system: str


@dataclass(frozen=True)
class Studied:
    """The runs in the order in which they are made, and what they show."""

    runs: list[Artifact]
    report: Artifact


def build_study(config: StudyConfig) -> Studied:
    """Every run in order, fewest labels first; each is found in the store or built.

    Raises:
        ConfigError: no such task or model, or one that cannot do what a system asks.
    """
    models = _models(config)
    parts = list(_parts(config))
    cells = tuple(_cell(config, part) for part in parts)
    request = StudyRequest(name=config.name, metric=config.metric, cells=cells)
    runs, diverged = [], []
    for part in parts:
        try:
            runs += _runs(config, part, models)
        except NonFiniteError as error:
            diverged.append(f"{_label(part)}: {error}")
    if diverged:
        there = f"the other {len(parts) - len(diverged)} of {len(parts)} are done and kept"
        raise ConfigError("\n".join([f"{config.name}: {there}; with a smaller rate these may end, too:", *diverged]))
    return Studied(runs, study(request, label=f"study {config.name}", runs=runs))


def _label(part: Part) -> str:
    return f"{part.task.name} {part.labels} {part.system}"


def _cell(config: StudyConfig, part: Part) -> Cell:
    """What will be known of a part. Raises ConfigError for what can be seen to be wrong before anything is trained."""
    system = config.systems[part.system]
    try:
        metric_of(part.task.task(), config.metric)
    except ValueError as error:
        raise ConfigError(f"{config.name}: metric: {error}") from error
    if system.kind == "bag_of_words" and part.task.ask.form not in ("classification", "tagging"):
        raise ConfigError(
            f"systems.{part.system}: a bag of words classifies texts or tags words, and {part.task.name} is of form"
            f" {part.task.ask.form}: name under `tasks` those that it is for"
        )
    return Cell(
        task=part.task.name,
        labels=part.labels,
        examples=part.size,
        system=part.system,
        runs=1 if system.kind == "bag_of_words" else len(config.seeds),
        against=system.against or config.baseline,
    )


def _models(config: StudyConfig) -> dict[str, Artifact]:
    """Every model that a system names: what is missing is said before anything is trained."""
    wanted = {s.model: config.model_of(s) for s in config.systems.values() if s.model is not None}
    return {name: named_model(place, f"models.{name}") for name, place in wanted.items()}


def _parts(config: StudyConfig) -> Iterator[Part]:
    """Tasks in turn within each number of labels; a number that a set does not have is left out."""
    seen: set[tuple[str, int]] = set()
    for labels in config.labels:
        for name in config.tasks:
            limits: dict[str, int] = {str(split): n for split, n in config.held_out.items()}
            if labels != "all":
                limits["train"] = labels
            task = load_shipped_task(name, limits)
            examples = build_task(task)
            count = example_count(examples, "train")
            if labels != "all" and "all" in config.labels and count < labels:
                continue  # they are all there are
            if (name, count) in seen:
                continue  # as many examples of a task are the same ones
            seen.add((name, count))
            for system, of in config.systems.items():
                if of.tasks is None or name in of.tasks:
                    yield Part(task, labels, examples, count, system)


def _runs(config: StudyConfig, part: Part, models: dict[str, Artifact]) -> list[Artifact]:
    system, label = config.systems[part.system], _label(part)
    try:
        if system.kind == "bag_of_words":
            return [bag_of_words(system.baseline, label=label, examples=part.examples)]
        assert system.model is not None
        model = models[system.model]
        settings = config.settings_of(system, part.labels).resolve(
            settings_of(read_json(sound_file(model, "config.json")))
        )
        return [
            finetune(
                FinetuneRequest(settings=settings.model_copy(update={"seed": seed})),
                label=f"{label} seed {seed}",
                examples=part.examples,
                model=model,
            )
            for seed in config.seeds
        ]
    except ValueError as error:
        raise ConfigError(f"{label}: {error}") from error


@flow(name="study", flow_run_name="study {config.name}", persist_result=False)
def study_flow(config: FromFile[StudyConfig] = shipped_study()) -> dict[str, str]:  # noqa: B008
    """Compare systems over numbers of labels and seeds; what is up to date is reused."""
    with prefect_run("study", config):
        made = build_study(config)
    return {"study": made.report.name}
