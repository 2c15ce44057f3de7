"""A search for the settings of a fine-tuning. Every run of a trial is an artifact: a search that was killed asks
nothing twice, and one that is made longer, or finer, has what both share."""

from collections.abc import Sequence
from dataclasses import dataclass

from prefect import flow

from flows.config.loading import ConfigError
from flows.config.named_file import FromFile
from flows.config.search import SearchTuningConfig, shipped_search
from flows.finetune import Tuned, opened, requests_of, summed_up, train
from flows.running import prefect_run
from lm.finetune.config import FinetuneConfig
from lm.finetune.search import Trials, proposals
from lm.finetune.search_config import Values, with_values
from lm.train.non_finite import NonFiniteError
from tasks.finetune import FinetuneRequest
from tasks.search import SEARCH, DivergedRequest, SearchRequest, TrialConfig, diverged_run, search, search_trial
from tasks.stage import sound_file
from tasks.storage.files import read_json
from tasks.store import Artifact


@dataclass(frozen=True)
class Searched:
    """The trials that ended, the table of them, and the fine-tuning that was chosen."""

    trials: list[Artifact]
    search: Artifact
    chosen: Tuned


def build_searched(config: SearchTuningConfig) -> Searched:
    """Every trial in order, each with all seeds; then the summary of the chosen one, which alone is registered.

    Raises:
        ConfigError: as `flows.finetune.build_tuned`; the package that proposes is not there; all trials diverged.
    """
    try:
        config.search.check(config.settings)
        talk = proposals(config.search)
        values: Values | None = next(talk)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"search: {error}") from error
    examples, model = opened(config)
    trials: list[Artifact] = []
    runs: list[list[Artifact]] = []
    diverged: list[Values] = []
    number = 0
    while values is not None:
        number += 1
        label = f"{config.name} trial {number}"
        score = None
        ran = _tried(with_values(config.settings, values), config.seeds, label, examples, model)
        if ran is None:
            diverged.append(values)
        else:
            runs.append(ran)
            trials.append(search_trial(TrialConfig(values=values), label=label, runs=ran))
            score = read_json(sound_file(trials[-1], "trial.json"))["mean"]
        values = _next(talk, score)
    if not trials:
        raise ConfigError(f"search: the loss of all {number} trials became infinite: search among smaller rates")
    table = search(SearchRequest(search=config.search, diverged=tuple(diverged)), trials=trials)
    best = runs[read_json(sound_file(table, SEARCH))["best"]]
    return Searched(trials, table, summed_up(config, examples, best))


def _tried(
    settings: FinetuneConfig, seeds: Sequence[int], label: str, examples: Artifact, model: Artifact
) -> list[Artifact] | None:
    """A run for each seed; None if the loss of one becomes infinite, now or when it was tried before."""
    requests = requests_of(settings, seeds, label, model)
    for request in requests:
        if diverged_run.known(DivergedRequest(settings=request.settings), examples=examples, model=model):
            _diverged(request, "", label, examples, model)
            return None
    runs = []
    for request in requests:
        try:
            runs.append(train(request, label, examples, model))
        except NonFiniteError as error:
            _diverged(request, str(error), label, examples, model)
            return None
    return runs


def _diverged(request: FinetuneRequest, said: str, label: str, examples: Artifact, model: Artifact) -> None:
    ended = DivergedRequest(settings=request.settings, said=said)
    diverged_run(ended, label=f"{label} seed {request.settings.seed} diverged", examples=examples, model=model)


def _next(talk: Trials, score: float | None) -> Values | None:
    try:
        return talk.send(score)
    except StopIteration:
        return None


@flow(name="search", flow_run_name="search {config.name}", persist_result=False)
def search_flow(config: FromFile[SearchTuningConfig] = shipped_search()) -> dict[str, str]:  # noqa: B008
    """Search the settings of a fine-tuning on dev; what was tried before is reused."""
    with prefect_run("search", config):
        made = build_searched(config)
        return {"search": made.search.name, "summary": made.chosen.summary.name, "best": made.chosen.best.name}
