"""Start a pipeline run from a terminal: servers, reconciliation, the flow, a summary."""

import importlib
import json
import os
import time
from typing import Any

from flows import running
from flows.servers import access, services
from flows.servers.automations import TAG
from tasks.finetune import over
from tasks.ladder import CARRIED, read_board
from tasks.machine import home
from tasks.machine.termination import exit_on_sigterm
from tasks.running.progress import cancelled_in_ui
from tasks.running.run import Run
from tasks.scaling import PAGE, PREDICTION
from tasks.storage.files import read_json
from tasks.store import Artifact
from tasks.tracking.shipper import EXPERIMENT


def run_flow(entrypoint: str, config: running.Settings, quiet: bool, **parameters: bool) -> dict[str, Any]:
    """Run a flow (`flows.pipeline:textmill_pipeline`) as a Prefect flow run in this process, with further parameters.

    The Prefect server is waited for (started if none answers); MLflow is only started: what it is to be told waits in
    journals. Returns the summary that `textmill run --json` prints.
    """
    services.ensure(*services.SERVERS, wait=False)
    services.ensure("prefect")
    home.configure_environment()
    if quiet:
        os.environ[running.QUIET] = "1"
    # our own lines and bars say what happens; Prefect's log still goes to its server
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "ERROR" if quiet else "WARNING")
    module, _, name = entrypoint.partition(":")
    flow = getattr(importlib.import_module(module), name)
    from prefect import tags  # it reads the environment that was set above

    # Prefect ends the process with the signal it got; this way what is left to do below is still done
    exit_on_sigterm()
    started = time.perf_counter()
    try:
        with tags(TAG):
            state = flow(config, **parameters, return_state=True)
    finally:
        if cancelled_in_ui.is_set() and running.last_run is not None:
            _mark_cancelled(running.last_run)
    seconds = time.perf_counter() - started
    summary: dict[str, Any] = {"state": state.name, "message": state.message, "seconds": seconds}
    if state.is_completed() and isinstance(returned := state.result(), dict) and "outcome" in returned:
        summary["outcome"] = returned["outcome"]  # a sentence: what came of a contest, or whether to pretrain
    return summary | _summarised(running.last_run, seconds) | {"links": _links(running.last_run)}


def _mark_cancelled(run: Run) -> None:
    """Say in Prefect what happened: without a worker, the end of a cancelled run counts as a crash."""
    from uuid import UUID

    from prefect.client.orchestration import get_client
    from prefect.states import Cancelled

    message = "stopped after a checkpoint; run it again and it goes on"
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(run.flow_run_id), Cancelled(message=message), force=True)


def _summarised(run: Run | None, seconds: float) -> dict[str, Any]:
    if run is None:
        return {"run": None, "outside_stages_seconds": seconds, "stages": [], "figures": {}, "sample": None}
    stages = [
        {
            "stage": record.stage,
            "label": record.label,
            "key": record.artifact.key,
            "digest": record.artifact.digest,
            "cached": record.state == "cached",
            "seconds": record.seconds,
            "path": str(record.artifact.path),
        }
        for record in run.records
    ]
    made = {record.stage: record.artifact for record in run.records}
    return {
        "run": run.token,
        "outside_stages_seconds": seconds - run.stage_seconds,
        "stages": stages,
        "figures": _figures(made),
        "sample": _last_sample(made.get("instruct") or made.get("pretrain") or made.get("train_translator")),
    }


def _figures(made: dict[str, Artifact]) -> dict[str, str]:
    """The few numbers that a person wants first; a stage that did not run has none."""
    counts = {stage: artifact.counts() for stage, artifact in made.items()}
    figures = {}
    if "ingest" in counts and "filter_corpus" in counts:
        read, kept = counts["ingest"], counts["filter_corpus"]
        figures["documents read"] = f"{read['documents']:,} ({read['text_bytes'] / 1e6:.1f} MB of text)"
        figures["documents kept"] = f"{kept['documents']:,} ({kept['bytes'] / 1e6:.1f} MB)"
    if "pretrain" in counts and not {"leaderboard", "predict_loss"} & set(counts):
        trained = counts["pretrain"]
        figures["model"] = f"{trained['parameters']:,} parameters, trained on {trained['tokens']:,} tokens"
    if "evaluate" in counts:
        bpb = counts["evaluate"]
        figures["held-out bits per byte"] = (
            f"{bpb['pretrained_bits_per_byte']:.3f} (unigram {bpb['unigram_bits_per_byte']:.3f}, "
            f"untrained {bpb['untrained_bits_per_byte']:.3f})"
        )
    if "word_vectors" in counts:
        figures["vectors"] = f"{counts['word_vectors']['words']:,} words, loss {counts['word_vectors']['loss']:.4f}"
    if (accuracy := counts.get("pretrain", {}).get("valid_masked_accuracy")) is not None:
        figures["masked tokens guessed"] = f"{accuracy:.1%} of validation text's"
    if "held_out" in counts and "leaderboard" not in counts:
        figures["held-out bits per byte"] = f"{counts['held_out']['bits_per_byte']:.4f}"
        if CARRIED in counts["held_out"]:
            figures["with the state carried"] = f"{counts['held_out'][CARRIED]:.4f}"
    if "train_translator" in counts:
        found = counts["train_translator"]
        figures["model"] = f"{found['parameters']:,} parameters, trained on {found['tokens']:,} tokens"
        figures["BLEU of validation sources"] = f"{found['valid_bleu']:.1f} (copied: {found['copy_bleu']:.1f})"
        figures["chrF"] = f"{found['valid_chrf']:.1f}"
        if "valid_rouge_l" in found:
            figures["ROUGE-L"] = f"{found['valid_rouge_l']:.1f} (copied: {found['copy_rouge_l']:.1f})"
    if "instruct" in counts:
        found = counts["instruct"]
        figures["model"] = f"{found['parameters']:,} parameters, trained on {found['tokens']:,} tokens"
        before, after = found["untrained_bits_per_byte"], found["valid_bits_per_byte"]
        figures["bits per byte of validation answers"] = f"{after:.4f} (before: {before:.4f})"
        for name in ("exact_match", "rouge_l"):
            if f"valid_{name}" in found:
                figures[f"{name} of answers"] = f"{found[f'valid_{name}']:.1f} %"
    if "compare" in made:
        comparisons = json.loads(made["compare"].file("comparison.json").read_text())
        first, second, gain = (comparisons["pretrained - scratch"][name] for name in ("first", "second", "difference"))
        figures["accuracy from pretrained"] = f"{first['mean']:.1%} ± {first['sd']:.1%} over {first['seeds']} seeds"
        figures["accuracy from random weights"] = f"{second['mean']:.1%} ± {second['sd']:.1%}"
        figures["accuracy of a bag of words"] = f"{comparisons['pretrained - bag of words']['second']['mean']:.1%}"
        figures["difference"] = f"{gain['value']:+.1%} (95 % interval {gain['low']:+.1%} to {gain['high']:+.1%})"
    if "search" in made:
        figures |= _searched(json.loads(made["search"].file("search.json").read_text()))
    if "finetune_summary" in made:
        figures |= _tuned(json.loads(made["finetune_summary"].file("summary.json").read_text()))
    if "predict_loss" in made:
        figures |= scaling_figures(made["predict_loss"], made.get("scaling_table"))
    if "leaderboard" in made:
        for row in read_board(made["leaderboard"]):
            figures[row["model"]] = f"{row['bits_per_byte']:.4f} bits per byte, {row['parameters']:,} parameters"
    return figures


def _tuned(summary: dict[str, Any]) -> dict[str, str]:
    """What the seeds of a fine-tuning reach together."""
    figures = {}
    for split, of in summary["splits"].items():
        for name, spread in of.items():
            figures[f"{summary['task']}, {split} {name}"] = (
                f"{_with_spread(spread, summary['seeds'])} {over(summary['seeds'])} "
                f"(95 % interval {spread['low']:.3f} to {spread['high']:.3f})"
            )
    return figures | {"best run on dev": summary["runs"][summary["best"]]["artifact"]}


def _with_spread(found: dict[str, Any], seeds: int) -> str:
    """A mean and its standard deviation, which one seed does not have."""
    return f"{found['mean']:.3f}" + (f" ± {found['sd']:.3f}" if seeds > 1 else "")


def _searched(found: dict[str, Any]) -> dict[str, str]:
    """What each trial of a search reached on dev."""

    def written(values: dict[str, Any]) -> str:
        shown = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in values.items()}
        return ", ".join(f"{name} {value}" for name, value in shown.items())

    figures = {}
    for number, trial in enumerate(found["trials"]):
        said = f"{number + 1}: {written(trial['values'])}"
        chosen = "  chosen" if number == found["best"] else ""
        figures[said] = f"dev {trial['metric']} {_with_spread(trial, trial['seeds'])}{chosen}"
    for values in found["diverged"]:
        figures[written(values)] = "diverged"
    return figures


def scaling_figures(prediction: Artifact, table: Artifact | None) -> dict[str, str]:
    """Of a scaling study: the larger model as it was predicted and, once it is trained, as it was measured."""
    found = read_json(prediction.file(PREDICTION))
    said, target = found["predicted"]["joint"], found["target"]
    size = f"{target['body']:,} parameters without embeddings, {target['tokens']:,} tokens"
    share = f"{100 * found['confidence']:g} % interval"
    figures = {
        "runs that laws go through": f"{len(found['runs'])}, R² {found['laws']['joint']['r_squared']:.4f} of L(N, D)",
        "larger model": size,
        "predicted bits per byte": f"{said['value']:.4f} ({share} {said['low']:.4f} to {said['high']:.4f})",
    }
    if table is not None:
        figures["measured bits per byte"] = f"{table.counts()['measured_bits_per_byte']:.4f}"
        figures["table and picture"] = str(table.path / PAGE)
    return figures


def _last_sample(model: Artifact | None) -> str | None:
    from tasks.running.hooks import SAMPLES, read_samples

    samples = read_samples(model.path / SAMPLES) if model else []
    if not samples:
        return None
    between = {"train_translator": " -> ", "instruct": "\nassistant: "}.get(model.stage if model else "", "")
    return f"{samples[-1]['prompt']}{between}{samples[-1]['text']}"


def mlflow_link() -> str:
    """Our experiment in the Model training view (MLflow 3 opens its GenAI view otherwise), if the server answers."""
    server = services.ui_url("mlflow")
    query = f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={EXPERIMENT}"
    try:
        _, content = access.ask("mlflow", services.url("mlflow"), query, timeout=2)
        experiment = json.loads(content)["experiment"]["experiment_id"]
    except (OSError, ValueError, KeyError):
        return server
    return f"{server}/#/experiments/{experiment}/runs?workflowType=machine_learning"


def _links(run: Run | None) -> dict[str, str]:
    prefect = services.ui_url("prefect")
    links = {"Prefect": prefect, "MLflow": mlflow_link()}
    if run and run.flow_run_id:
        links["Prefect"] = f"{prefect}/runs/flow-run/{run.flow_run_id}"
    for record in run.records if run else []:
        if record.stage in ("report", "finetune_summary", "leaderboard"):
            links["report"] = str(record.artifact.path / "report.html")
    return links
