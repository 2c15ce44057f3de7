"""Gather what the report says about the models: pretraining with curves and samples, fine-tuning with scores."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import duckdb

from tasks.reports.data import (
    ClassScore,
    ConfidentError,
    Difference,
    FineTuning,
    Interval,
    Point,
    Pretraining,
    Sample,
    SeedScore,
    System,
)
from tasks.reports.excerpts import LENGTH, LONGEST_ADDRESS, cut, without_addresses
from tasks.running.hooks import SAMPLES, read_samples
from tasks.running.journal import JOURNAL, history
from tasks.running.tables import answer
from tasks.storage.files import read_json
from tasks.store import RUN_DIRECTORY, Artifact

PREDICTIONS = "predictions.parquet"
METRICS = "metrics.json"
ERRORS = 20


def pretraining(model: Artifact, evaluation: Artifact) -> Pretraining:
    """The language model: figures on test documents, curves from the journal, samples."""
    result, figures = read_json(model.file("result.json")), read_json(evaluation.file("evaluation.json"))
    config = model.manifest()["config"]
    gpt, train = config["settings"]["model"], config["train"]
    sequences = evaluation.counts()["sequences"]
    curves = {
        name: [Point(step=step, value=value) for step, value in points]
        for name, points in history(model.path / RUN_DIRECTORY / JOURNAL).items()
    }
    return Pretraining(
        model=f"GPT-2 architecture, {gpt['layers']} layers of width {gpt['width']}, context {gpt['context']}",
        parameters=result["parameters"],
        tokens_seen=result["tokens"],
        heldout=f"test documents ({sequences:,} sequences of {gpt['context']} tokens)",
        pretrained=figures["pretrained"]["bits_per_byte"],
        untrained=figures["untrained"]["bits_per_byte"],
        unigram=figures["unigram"]["bits_per_byte"],
        train=curves.get("train/bits_per_byte", []),
        valid=curves.get("valid/bits_per_byte", []),
        learning_rate=curves.get("train/learning_rate", []),
        tokens_per_second=curves.get("train/tokens_per_second", []),
        samples=[
            Sample(step=row["step"], prompt=row["prompt"], text=without_addresses(row["text"]))
            for row in read_samples(model.path / SAMPLES)
        ],
        settings=_training_settings(train, gpt, result),
    )


def _training_settings(train: Mapping[str, Any], gpt: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, str]:
    optimizer, schedule = train["optimizer"], train["schedule"]
    return {
        "steps": f"{result['step']:,} of {train['batch']} sequences of {gpt['context']} tokens",
        "optimiser": f"AdamW, learning rate {optimizer['learning_rate']:g}, betas {optimizer['beta1']:g} and "
        f"{optimizer['beta2']:g}, weight decay {optimizer['weight_decay']:g} on matrices",
        "schedule": f"{schedule['shape']}, warm-up steps: {schedule['warmup_steps']}",
        "clipping": f"gradient norm at most {train['clip']:g}" if train["clip"] else "none",
        "dropout": f"{gpt['dropout']:g}",
        "device": f"{train['device']}, {train['precision']}",
        "seed": str(train["seed"]),
    }


def finetuning(
    connection: duckdb.DuckDBPyConnection,
    examples: Artifact,
    pretrained: Sequence[Artifact],
    scratch: Sequence[Artifact],
    baseline: Artifact,
    comparison: Artifact,
) -> FineTuning:
    """The classifier: every system over its seeds, their difference, and the pretrained system class by class."""
    counts, config = examples.counts(), pretrained[0].manifest()["config"]
    labels: list[str] = read_json(pretrained[0].file(METRICS))["classes"]
    confusion = _confusion(pretrained)
    found = read_json(comparison.file("comparison.json"))["pretrained - scratch"]["difference"]
    items = [sum(row) // len(pretrained) for row in confusion]
    return FineTuning(
        task="Which library does this paragraph document, with the names of libraries masked?",
        train_items=counts["train"],
        dev_items=counts["valid"],
        test_items=counts["test"],
        majority=max(items) / sum(items),
        interval_method="95 %: bootstrap over the test items, each with its mean over the seeds",
        systems=[
            _system("pretrained", "pretrained", pretrained),
            _system("from scratch", "scratch", scratch),
            _system("bag of words", "baseline", [baseline]),
        ],
        difference=Difference(
            first="pretrained",
            second="from scratch",
            accuracy=Interval(**{name: found[name] for name in ("value", "low", "high")}),
            p_value=found["p_value"],
        ),
        labels=labels,
        confusion=confusion,
        confusion_note="Sum over one seed" if len(pretrained) == 1 else f"Sum over {len(pretrained)} seeds",
        classes=[_class(number, name, confusion, items[number]) for number, name in enumerate(labels)],
        errors=_errors(connection, examples, pretrained[0], labels),
        auxiliary_weight=config["auxiliary_weight"],
        settings={
            "epochs": f"{config['epochs']:g}",
            "batch": str(config["batch"]),
            "learning rate": f"{config['learning_rate']:g}, warm-up over {config['warmup']:.0%} of the steps",
            "dropout": f"{_dropout(config)}, before the head {config['head_dropout']:g}",
            "weights kept": f"the best on the dev set of {config['evaluations']} evaluations{_patience(config)}",
            "device": f"{config['device']}, {config['precision']}",
        },
    )


def _patience(config: Mapping[str, Any]) -> str:
    return "" if config["patience"] is None else f"; stopped after {config['patience']} in a row that are no better"


def _dropout(config: Mapping[str, Any]) -> str:
    return "as in pretraining" if config["dropout"] is None else f"{config['dropout']:g}"


def _system(name: str, role: Literal["pretrained", "scratch", "baseline"], runs: Sequence[Artifact]) -> System:
    metrics = [read_json(run.file(METRICS)) for run in runs]
    return System(
        name=name,
        role=role,
        seeds=[SeedScore(seed=m.get("seed", 0), accuracy=m["test"]["accuracy"]) for m in metrics],
        accuracy=_accuracy(runs),
        macro_f1=sum(m["test"]["macro_f1"] for m in metrics) / len(metrics),
    )


def _accuracy(runs: Sequence[Artifact]) -> Interval:
    """Mean accuracy of the runs; resampled are the test items, not the seeds, of which there are too few."""
    import numpy as np

    from lm.evaluate.metrics import paired_bootstrap
    from lm.finetune.predictions import read_predictions

    predictions = [read_predictions(run.file(PREDICTIONS), "test") for run in runs]
    right = np.mean([p.predicted == p.labels for p in predictions], axis=0)
    found = paired_bootstrap(right, np.zeros_like(right))  # the difference from never being right
    return Interval(value=found.value, low=found.low, high=found.high)


def _confusion(runs: Sequence[Artifact]) -> list[list[int]]:
    matrices = [read_json(run.file(METRICS))["test"]["confusion"] for run in runs]
    size = range(len(matrices[0]))
    return [[sum(matrix[true][said] for matrix in matrices) for said in size] for true in size]


def _class(number: int, name: str, confusion: Sequence[Sequence[int]], items: int) -> ClassScore:
    right, true, said = confusion[number][number], sum(confusion[number]), sum(row[number] for row in confusion)
    return ClassScore(
        label=name,
        f1=2 * right / (true + said) if true + said else 0.0,
        precision=right / said if said else None,
        recall=right / true if true else None,
        items=items,
    )


def _errors(
    connection: duckdb.DuckDBPyConnection, examples: Artifact, run: Artifact, labels: Sequence[str]
) -> list[ConfidentError]:
    """Test items of one run that it got wrong, the surest first."""
    found = answer(
        connection,
        """
        SELECT p.id, left(e.text, $length) AS text, p.label, predicted, list_max(probabilities) AS probability
        FROM read_parquet($predictions) p JOIN read_parquet($examples) e USING (id)
        WHERE split = 'test' AND predicted <> p.label ORDER BY probability DESC, p.id LIMIT $n
        """,
        {
            "predictions": str(run.file(PREDICTIONS)),
            "examples": str(examples.file("test.parquet")),
            "length": LENGTH + LONGEST_ADDRESS,
            "n": ERRORS,
        },
    )
    return [
        ConfidentError(
            id=row["id"],
            text=cut(row["text"]),
            label=labels[row["label"]],
            predicted=labels[row["predicted"]],
            probability=row["probability"],
        )
        for row in found
    ]
