"""The report of a fine-tuning as one self-contained page: what was reached, where the best run errs, and why."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from lm.finetune.predictions import PREDICTIONS_FILE, Predictions, read_predictions
from lm.finetune.predictor import Predictor
from lm.labelled.folder import LabelledSet, Split
from lm.labelled.forms import Regression, Tagging
from tasks.pages.finetune_figures import reliability_diagram, saliency_picture
from tasks.pages.finetune_findings import MOST_ERRORS, PICTURES, Shown, calibration, confusion, pictured, ranked, shown
from tasks.pages.finetune_phrases import lost_phrases, stopped_early, times
from tasks.reports.format import decimal, short
from tasks.reports.page import environment, style_sheet
from tasks.reports.results import confusion as confusion_picture

REPORT = "report.html"
SPLITS: dict[Split, str] = {"valid": "Dev", "test": "Test"}


class Picture(NamedTuple):
    """What one prediction hangs on."""

    drawing: Markup
    target: str


class Tile(NamedTuple):
    """A figure at the head of the page."""

    name: str
    value: str
    below: str


class Part(NamedTuple):
    """The best run on one split."""

    split: str
    title: str
    examples: int
    confusion: Markup | None
    counted: str
    reliability: Markup | None
    calibration_error: float | None


def finetune_page(summary: Mapping[str, Any], best: Path, examples: Path) -> str:
    """The page as HTML, to be written as UTF-8.

    Args:
        summary: what summary.json says.
        best: the folder of the best run.
        examples: the labelled set.
    """
    predictions = {s: read_predictions(best / PREDICTIONS_FILE, s) for s in SPLITS if s in summary["splits"]}
    dev = predictions["valid"]
    task = dev.task
    wrong, right = ranked(dev)
    predictor = Predictor(best)
    by_id = {row["id"]: row for row in LabelledSet(examples).read("valid").to_pylist()}
    errors = _examples(predictor, dev, wrong[:MOST_ERRORS], by_id)
    sure = _examples(predictor, dev, [place for place in right if place not in wrong[:MOST_ERRORS]][:PICTURES], by_id)
    style, style_hash = style_sheet()
    return (
        environment(Path(__file__).parent)
        .get_template("finetune_page.html.jinja")
        .render(
            task=task,
            metric=summary["metric"],
            lead=_lead(summary, predictor),
            tiles=_tiles(summary),
            figures=[{"split": SPLITS[s], "metric": m, **spread} for s, m, spread in _spreads(summary)],
            looks=_looks(summary["runs"], predictor.settings.patience),
            lost=lost_phrases(summary["lost"]),
            runs=summary["runs"],
            run_columns=[(s, m) for s, m, _ in _spreads(summary)],
            best=summary["best"],
            parts=[
                part for split, of in predictions.items() if (part := _part(split, of)).confusion or part.reliability
            ],
            seeds=summary["seeds"],
            split_names=SPLITS,
            far=isinstance(task.ask, Regression),
            errors=errors,
            wrong=len(wrong),
            total=len(dev.rows),
            sure=sure,
            pictures=any(picture for _, picture in (*errors, *sure)),
            style=style,
            style_hash=style_hash,
        )
    )


def _examples(
    predictor: Predictor, predictions: Predictions, places: list[int], by_id: Mapping[str, Any]
) -> list[tuple[Shown, Picture | None]]:
    """Each with a picture for the first few."""
    found: list[tuple[Shown, Picture | None]] = []
    for number, place in enumerate(places):
        row = predictions.rows[place]
        example = by_id[row["id"]]
        read = pictured(predictor, predictions.task, row, example) if number < PICTURES else None
        picture = None if read is None else Picture(saliency_picture(*read), read.target)
        found.append((shown(predictions.task, row, example), picture))
    return found


def _part(split: Split, predictions: Predictions) -> Part:
    matrix, sure = confusion(predictions), calibration(predictions)
    return Part(
        split,
        f"Where it errs on {SPLITS[split].lower()}",
        len(predictions.rows),
        None if matrix is None else confusion_picture(*matrix),
        "words" if isinstance(predictions.task.ask, Tagging) else "examples",
        None if sure is None else reliability_diagram(sure[0]),
        None if sure is None else sure[1],
    )


def _spreads(summary: Mapping[str, Any]) -> list[tuple[Split, str, Mapping[str, float]]]:
    return [(s, m, spread) for s in SPLITS if s in summary["splits"] for m, spread in summary["splits"][s].items()]


def _tiles(summary: Mapping[str, Any]) -> list[Tile]:
    """The first metrics of each split."""
    return [
        Tile(
            f"{SPLITS[split]} {metric.replace('_', ' ')}",
            decimal(spread["mean"]),
            (f"± {decimal(spread['sd'])} over {summary['seeds']} seeds, " if summary["seeds"] > 1 else "1 seed, ")
            + f"{decimal(spread['low'])} – {decimal(spread['high'])}",
        )
        for split, metric, spread in _spreads(summary)
    ][:6]


def _looks(runs: Sequence[Mapping[str, Any]], patience: object) -> str:
    """How often the runs looked at dev, and whether that ended one early."""
    planned, early = runs[0]["looks"]["planned"], sum(stopped_early(run["looks"]) for run in runs)
    kept = f"A run looks at dev {times(planned)} and keeps the weights that were best there."
    if patience is None or planned == 1:
        return kept
    return f"{kept} After {patience} in a row without a better one it stops: {early} of {len(runs)} did so early."


def _lead(summary: Mapping[str, Any], predictor: Predictor) -> str:
    settings = predictor.settings
    start = "a pretrained model" if settings.initialisation == "pretrained" else "random weights"
    kind = predictor.model.backbone.settings.kind  # type: ignore[attr-defined]
    parameters = sum(p.numel() for p in predictor.model.parameters())
    epochs = f"{settings.epochs:g} epoch{'' if settings.epochs == 1 else 's'}"
    seeds = f"{summary['seeds']} seed{'s' if summary['seeds'] > 1 else ''}"
    return (
        f"A {kind} of {short(parameters)} parameters, from {start}: {epochs}, batch {settings.batch}, learning rate"
        f" {settings.learning_rate:g}, {seeds}."
    )
