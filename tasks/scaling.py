"""Scaling: laws through the runs of a study, what they say of a larger model before it is trained, and what it did."""

from typing import Any, Literal

from pydantic import Field

from lm.config import StrictModel
from lm.models.gpt_config import GPTConfig
from lm.models.modern_config import ModernConfig
from lm.pretraining import Pretraining
from tasks.losses import read_losses
from tasks.stage import NoConfig, Work, sidecar, stage
from tasks.storage.files import read_json, write_json
from tasks.store import Artifact

PREDICTION = "prediction.json"
TABLE = "scaling.json"
PAGE = "scaling.md"
PICTURE = "scaling.svg"
GRID = "grid.json"


class PredictionConfig(StrictModel):
    """The model that is to be trained, and how laws are fitted to those that were."""

    target: Pretraining
    tokens: int = Field(description="Tokens that the target reads.")
    count: Literal["body", "all"] = Field(description="What N counts: without embeddings and head, or everything.")
    huber: float
    confidence: float
    resamples: int


@stage(version=1)
def predict_loss(work: Work, config: PredictionConfig, *, models: list[Artifact], figures: list[Artifact]) -> None:
    """Fit L(N), L(D), L(C) and L(N, D) to finished runs, and write what they say of the target (prediction.json).

    The target is none of the inputs, and this artifact is an input of its training: what is predicted here was
    predicted before.
    """
    runs = [run_row(*each) for each in zip(models, figures, strict=True)]
    of_the_runs = config.target.with_vocab(runs[0]["vocab"])  # what the tokenizer has, not what it was to have
    target = _sized(_decoder(of_the_runs.model.model_dump()), config.tokens)
    prediction: dict[str, Any] = {"count": config.count, "confidence": config.confidence}
    prediction |= {"runs": runs, "target": target, **_laws(runs, target, config)}
    write_json(work.directory / PREDICTION, prediction)
    work.counts |= {"runs": len(runs), "predicted_bits_per_byte": prediction["predicted"]["joint"]["value"]}
    for name, law in prediction["laws"].items():
        if law is not None:
            shown = {f"{name}_{key}": value for key, value in law.items() if isinstance(value, float)}
            work.counts |= shown
    rows = [{"law": name, **found} for name, found in prediction["predicted"].items() if found]
    work.table("predicted", rows, f"Held-out bits per byte of {target['all']:,} parameters, not yet trained")


@stage(version=1)
def scaling_table(work: Work, config: NoConfig, *, prediction: Artifact, target: Artifact, figures: Artifact) -> None:
    """Predicted beside measured, all runs and laws (scaling.json, scaling.md), and loss against size (scaling.svg).

    A leaf: nothing is made from it, so it may read when the prediction and the target were made.
    """
    from tasks.pages.scaling_figures import loss_against_size
    from tasks.pages.scaling_page import scaling_page

    found = read_json(prediction.file(PREDICTION))
    measured = run_row(target, figures)
    outcome = {
        law: {
            **said,
            "measured": measured["bits_per_byte"],
            "inside": said["low"] <= measured["bits_per_byte"] <= said["high"],
        }
        for law, said in found["predicted"].items()
        if said
    }
    made = {"predicted_at": sidecar(prediction)["created"], "trained_at": sidecar(target)["created"]}
    whole = {**found, "measured": measured, "outcome": outcome, "prediction": prediction.name, **made}
    write_json(work.directory / TABLE, whole)
    (work.directory / PAGE).write_text(scaling_page(whole), encoding="utf-8")
    (work.directory / PICTURE).write_text(loss_against_size(whole), encoding="utf-8")
    for path in (PAGE, PICTURE):
        work.journal.write("file", path=path, directory="scaling")
    for row in [*found["runs"], measured]:  # a curve in MLflow: loss over parameters, for each budget
        work.journal.metrics({f"tokens_{row['tokens']}/bits_per_byte": row["bits_per_byte"]}, row[found["count"]])
    work.counts |= {"measured_bits_per_byte": measured["bits_per_byte"]}
    work.counts |= {f"{law}_predicted_bits_per_byte": row["value"] for law, row in outcome.items()}
    work.table("predicted-and-measured", [{"law": law, **row} for law, row in outcome.items()], "Bits per byte")
    work.markdown.append(("scaling", scaling_page(whole)))


@stage(version=1)
def size_and_data(
    work: Work, config: NoConfig, *, models: list[Artifact], figures: list[Artifact], subsets: list[Artifact]
) -> None:
    """Models of several sizes on texts of several sizes: loss on held-out and own text (grid.json, .md, .svg)."""
    from tasks.pages.scaling_figures import loss_on_both_texts
    from tasks.pages.scaling_page import grid_page

    rows = []
    for model, found, text in zip(models, figures, subsets, strict=True):
        own = read_losses(found)["own"]
        rows.append({**run_row(model, found), "text_tokens": text.counts()["tokens"], "own_bits_per_byte": own})
    write_json(work.directory / GRID, rows)
    (work.directory / "grid.md").write_text(grid_page(rows), encoding="utf-8")
    (work.directory / "grid.svg").write_text(loss_on_both_texts(rows), encoding="utf-8")
    for path in ("grid.md", "grid.svg"):
        work.journal.write("file", path=path, directory="grid")
    for row in rows:
        gap = {"held_out": row["bits_per_byte"], "own": row["own_bits_per_byte"]}
        work.journal.metrics({f"text_{row['text_tokens']}/{name}": v for name, v in gap.items()}, row["body"])
    work.counts |= {"cells": len(rows)}
    work.markdown.append(("size-and-data", grid_page(rows)))


def run_row(model: Artifact, found: Artifact) -> dict[str, Any]:
    """A trained model's size, data, compute and held-out loss."""
    from lm.artifact import described

    row = _sized(_decoder(described(model.path)), model.counts()["tokens"])
    return {**row, "bits_per_byte": read_losses(found)["held_out"], "artifact": model.name}


def _decoder(described: dict[str, Any]) -> GPTConfig | ModernConfig:
    return (ModernConfig if described["kind"] == "modern" else GPTConfig).model_validate(described)


def _sized(model: GPTConfig | ModernConfig, tokens: int) -> dict[str, Any]:
    from lm.flops import body_parameters, training_flops

    return {
        "kind": model.kind,
        "layers": model.layers,
        "width": model.width,
        "vocab": model.vocab,
        "body": body_parameters(model),
        "all": model.parameter_count(),
        "tokens": tokens,
        "flops": training_flops(model, tokens),
    }


def _laws(runs: list[dict[str, Any]], target: dict[str, Any], config: PredictionConfig) -> dict[str, Any]:
    """The laws, and what each that can says of the target."""
    from lm.joint_law import fit_joint_law
    from lm.scaling import frontier

    sizes, tokens, flops, losses = ([r[k] for r in runs] for k in (config.count, "tokens", "flops", "bits_per_byte"))
    widest, longest = max(sizes), max(tokens)
    chosen = {
        "parameters": (config.count, [i for i, run in enumerate(runs) if run["tokens"] == longest]),
        "data": ("tokens", [i for i in range(len(runs)) if sizes[i] == widest]),
        "compute": ("flops", frontier(flops, losses)),
    }
    laws: dict[str, Any] = {}
    predicted: dict[str, Any] = {}
    for name, (quantity, points) in chosen.items():
        said = (quantity != "tokens") and (name != "parameters" or target["tokens"] == longest)
        laws[name], predicted[name] = _power_law(runs, quantity, points, target[quantity] if said else None, config)
    law = fit_joint_law(
        sizes, tokens, losses, huber=config.huber, confidence=config.confidence, resamples=config.resamples
    )
    laws["joint"] = {
        "irreducible": law.irreducible,
        "size_coefficient": law.size_coefficient,
        "size_exponent": law.size_exponent,
        "data_coefficient": law.data_coefficient,
        "data_exponent": law.data_exponent,
        "compute_exponent": law.compute_exponent,
        "r_squared": law.r_squared,
        "intervals": law.intervals,
    }
    predicted["joint"] = vars(law.predict(target[config.count], target["tokens"], config.confidence))
    return {"laws": laws, "predicted": predicted}


def _power_law(
    runs: list[dict[str, Any]], quantity: str, points: list[int], at: float | None, config: PredictionConfig
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """A law through some of the runs and what it says `at` a value; none where fewer than three differ."""
    from lm.scaling import fit_power_law

    values = [runs[i][quantity] for i in points]
    if len(set(values)) < 3:
        return None, None
    found = fit_power_law(
        values,
        [runs[i]["bits_per_byte"] for i in points],
        confidence=config.confidence,
        resamples=config.resamples,
    )
    law = {
        "coefficient": found.coefficient,
        "exponent": found.exponent,
        "interval": found.exponent_interval,
        "r_squared": found.r_squared,
        "runs": points,
    }
    return law, None if at is None else vars(found.predict(at, config.confidence))
