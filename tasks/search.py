"""A search for settings: what each trial reached on dev, and what was chosen. The runs are `finetune` artifacts."""

from typing import Any

from pydantic import Field

from lm.config import StrictModel
from lm.finetune.search_config import SearchConfig
from tasks.finetune import METRICS, FinetuneRequest, finetune, over
from tasks.stage import Work, stage
from tasks.storage.files import read_json, write_json
from tasks.store import Artifact

TRIAL = "trial.json"
SEARCH = "search.json"
DIVERGED = "diverged.json"


class TrialConfig(StrictModel):
    """One trial."""

    values: dict[str, Any] = Field(description="What it changes of the settings.")


@stage(version=1)
def search_trial(work: Work, config: TrialConfig, *, runs: list[Artifact]) -> None:
    """What settings reach on dev over all seeds. Of the test split nothing is read."""
    from lm.evaluate.metrics import over_seeds

    results = [read_json(run.file(METRICS)) for run in runs]
    metric = results[0]["metric"]
    spread = over_seeds([result["valid"][metric] for result in results])
    found = {"values": config.values, "metric": metric, "mean": spread.mean, "sd": spread.sd, "seeds": len(runs)}
    write_json(work.directory / TRIAL, found)
    work.counts |= {f"valid_{metric}_mean": spread.mean, f"valid_{metric}_sd": spread.sd}


class DivergedRequest(FinetuneRequest):
    """A run whose loss became infinite."""

    said: str = Field(default="", description="How it ended; the same settings always end so.")

    def key_material(self) -> dict[str, Any]:
        """What the run itself is known by."""
        return {**super().key_material(), "version": finetune.version}


@stage(version=1, libraries=finetune.libraries)
def diverged_run(work: Work, config: DivergedRequest, *, examples: Artifact, model: Artifact) -> None:
    """In place of a model, that there is none: a search that goes on need not find that out again."""
    write_json(work.directory / DIVERGED, {"said": config.said})


class SearchRequest(StrictModel):
    """What was looked for, and the trials that came to nothing."""

    search: SearchConfig
    diverged: tuple[dict[str, Any], ...] = Field(description="The values whose loss became infinite.")


@stage(version=1)
def search(work: Work, config: SearchRequest, *, trials: list[Artifact]) -> None:
    """The trials, in their order, and the best of them: the first of equals."""
    found = [read_json(trial.file(TRIAL)) for trial in trials]
    best = max(range(len(found)), key=lambda n: (found[n]["mean"], -n))
    write_json(
        work.directory / SEARCH,
        {
            "metric": found[best]["metric"],
            "best": best,
            "settings": found[best]["values"],
            "trials": [{**trial, "artifact": artifact.name} for trial, artifact in zip(found, trials, strict=True)],
            "diverged": list(config.diverged),
        },
    )
    work.counts |= {"trials": len(found), "diverged": len(config.diverged), "best_mean": found[best]["mean"]}
    rows = [{**trial["values"], "mean": trial["mean"], "sd": trial["sd"]} for trial in found]
    work.table("trials", rows, f"{found[best]['metric']} on dev {over(found[best]['seeds'])}")
