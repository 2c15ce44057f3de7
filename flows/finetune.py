"""Fine-tuning a model on a task: its labelled set, a run for each seed, and what they reach together."""

from collections.abc import Sequence
from dataclasses import dataclass

from prefect import flow

from flows.config.finetune import TuningConfig, shipped_tuning
from flows.config.loading import ConfigError
from flows.config.named_file import FromFile
from flows.pretrain import named_model
from flows.running import prefect_run
from flows.task_sets import labelled_set_of
from lm.finetune.config import FinetuneConfig
from lm.finetune.kinds import settings_of
from tasks.finetune import FinetuneRequest, SummaryConfig, finetune, finetune_summary
from tasks.stage import sound_file
from tasks.storage.files import read_json
from tasks.store import Artifact


@dataclass(frozen=True)
class Tuned:
    """The set, the runs in the order of the seeds, and what they reach together."""

    examples: Artifact
    runs: list[Artifact]
    summary: Artifact

    @property
    def best(self) -> Artifact:
        """The run that is best on dev."""
        return self.runs[read_json(sound_file(self.summary, "summary.json"))["best"]]


def build_tuned(config: TuningConfig) -> Tuned:
    """Every stage in order; each is found in the store or built.

    Raises:
        ConfigError: no such task, set or model, or one that cannot be fine-tuned, or settings that do not fit it.
    """
    examples, model = opened(config)
    runs = tune(config.settings, config.seeds, config.name, examples, model)
    return summed_up(config, examples, runs)


def summed_up(config: TuningConfig, examples: Artifact, runs: list[Artifact]) -> Tuned:
    """What the runs reach together."""
    return Tuned(examples, runs, finetune_summary(SummaryConfig(serve=config.serve), runs=runs, examples=examples))


def opened(config: TuningConfig) -> tuple[Artifact, Artifact]:
    """The labelled set and the model. Raises ConfigError as `build_tuned` does."""
    wanted, _ = config.needed()
    return labelled_set_of(config), named_model(wanted, "model")


def tune(
    settings: FinetuneConfig, seeds: Sequence[int], label: str, examples: Artifact, model: Artifact
) -> list[Artifact]:
    """A run for each seed. Raises ConfigError for settings that do not fit the model or the set."""
    return [train(request, label, examples, model) for request in requests_of(settings, seeds, label, model)]


def requests_of(settings: FinetuneConfig, seeds: Sequence[int], label: str, model: Artifact) -> list[FinetuneRequest]:
    """What is asked for each seed. Raises ConfigError for settings that do not fit the model."""
    try:
        settings = settings.resolve(settings_of(read_json(sound_file(model, "config.json"))))
    except ValueError as error:
        raise ConfigError(f"{label}: {error}") from error
    return [FinetuneRequest(settings=settings.model_copy(update={"seed": seed})) for seed in seeds]


def train(request: FinetuneRequest, label: str, examples: Artifact, model: Artifact) -> Artifact:
    """One run. Raises ConfigError for settings that do not fit the set."""
    try:
        return finetune(request, label=f"{label} seed {request.settings.seed}", examples=examples, model=model)
    except ValueError as error:
        raise ConfigError(f"{label}: {error}") from error


@flow(name="tuning", flow_run_name="finetune {config.name}", persist_result=False)
def tuning_flow(config: FromFile[TuningConfig] = shipped_tuning()) -> dict[str, str]:  # noqa: B008
    """Fine-tune a model on a task over several seeds; what is up to date is reused."""
    with prefect_run("tuning", config):
        made = build_tuned(config)
        return {"summary": made.summary.name, "best": made.best.name}
