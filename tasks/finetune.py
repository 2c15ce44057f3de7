"""Fine-tune: one run (initialisation, seed) is one artifact, so that a study resumes run by run."""

import re
from typing import Any

from pydantic import Field

from lm.config import StrictModel
from lm.finetune.config import BaselineConfig, FinetuneConfig
from tasks.pretrain import UNSEEN_IN_RESULT
from tasks.running.hooks import training
from tasks.stage import Work, stage
from tasks.storage.files import read_json, write_json
from tasks.store import Artifact

METRICS = "metrics.json"
SUMMARY = "summary.json"
BEST = "best"
"""In MLflow the alias of a task's model that is best on dev: `tasks.tracking.registry` moves it."""


class FinetuneRequest(StrictModel):
    """One fine-tuning run, every `auto` resolved."""

    settings: FinetuneConfig

    def key_material(self) -> dict[str, Any]:
        """Without what changes how a training is watched and saved, and not what it ends in."""
        settings = self.settings.model_dump(mode="json")
        return {name: value for name, value in settings.items() if name not in UNSEEN_IN_RESULT}


@stage(version=4, libraries=("torch", "tokenizers"))
def finetune(work: Work, config: FinetuneRequest, *, examples: Artifact, model: Artifact) -> None:
    """Teach a pretrained model, or random weights of its size, what a labelled set asks, and predict dev and test."""
    from lm.finetune.train import finetune as run

    checkpoints = work.scratch / "checkpoints"
    with training(work, config.settings.device) as (hooks, should_stop):
        result = run(examples.path, model.path, config.settings, work.directory, hooks, should_stop, checkpoints)
    work.counts |= {name: result[name] for name in ("steps", "parameters", "learning")} | figures(result)
    work.counts |= {f"looks_{name}": count for name, count in result["looks"].items()}
    for split, lost in result["lost"].items():
        work.counts |= {f"{split}_examples_{how}": count for how, count in lost.items()}
    for split, words in result.get("words", {}).items():
        work.counts |= {
            f"{split}_{name}": count for name, count in (("words", words["words"]), ("unknown_words", words["unknown"]))
        }


@stage(version=3, libraries=("scikit-learn",))
def bag_of_words(work: Work, config: BaselineConfig, *, examples: Artifact) -> None:
    """The baseline that any model must beat: logistic regression on a text's words, or on a word's spelling and
    neighbours."""
    from lm.finetune.baseline import bag_of_words as run

    result = run(examples.path, config, work.directory)
    work.counts |= {"features": result["features"]} | figures(result)


def figures(result: dict[str, Any]) -> dict[str, float]:
    """What metrics.json says in single numbers, as `valid_accuracy`."""
    return {
        f"{split}_{name}": value
        for split in ("valid", "test")
        for name, value in result.get(split, {}).items()
        if isinstance(value, float)
    }


def over(seeds: int) -> str:
    """How a figure of so many seeds is named."""
    return f"over {seeds} {'seed' if seeds == 1 else 'seeds'}"


def registered_name(task: str) -> str:
    """What a task's models are called in MLflow, which allows neither `/` nor `:` in a name."""
    return "textmill-" + re.sub(r"[/:]", "-", task)


class SummaryConfig(StrictModel):
    """What is done with the best run."""

    serve: bool = Field(default=True, description="Whether it is registered in MLflow, to be served.")


@stage(version=4, libraries=("torch", "tokenizers"))
def finetune_summary(work: Work, config: SummaryConfig, *, runs: list[Artifact], examples: Artifact) -> None:
    """One model over several seeds: every metric's mean, standard deviation and interval, a report, and the best run,
    which alone is registered in MLflow."""
    import torch

    from lm.finetune.summary import summarise
    from tasks.pages.finetune_page import REPORT, finetune_page

    torch.set_num_threads(work.resources.threads)

    results = [read_json(run.file(METRICS)) for run in runs]
    found = summarise([run.path for run in runs], results)
    found["runs"] = [
        {"artifact": run.name, "seed": result["seed"], "looks": result["looks"], **figures(result)}
        for run, result in zip(runs, results, strict=True)
    ]
    write_json(work.directory / SUMMARY, found)
    for split, of in found["splits"].items():
        for name, spread in of.items():
            work.counts |= {f"{split}_{name}_{what}": spread[what] for what in ("mean", "sd", "low", "high")}
    best = runs[found["best"]]
    page = finetune_page(found, best.path, examples.path)
    (work.directory / REPORT).write_text(page, encoding="utf-8")
    work.journal.write("file", path=REPORT, directory="report")
    if config.serve:
        name = registered_name(found["task"])
        dev = dev_figure(found, examples)
        work.journal.write("serve", name=name, alias=BEST, path=str(best.path), key=best.key, dev=dev)
    rows = [{"split": s, "metric": m, **spread} for s, of in found["splits"].items() for m, spread in of.items()]
    work.table("reached", rows, f"{found['task']} {over(len(runs))}")


def dev_figure(summary: dict[str, Any], examples: Artifact) -> dict[str, Any]:
    """What a fine-tuning reached on dev, and what that can be compared with: `examples` (SHA-256 of the dev examples),
    `metric`, `mean` (over the seeds; larger is better)."""
    metric = summary["metric"]
    [held_out] = [entry["sha256"] for entry in examples.manifest()["files"] if entry["path"] == "valid.parquet"]
    return {"examples": held_out, "metric": metric, "mean": summary["splits"]["valid"][metric]["mean"]}
