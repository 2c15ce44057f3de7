"""The report of a fine-tuning: figures equal those of the predictions, foreign text stays text."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from flows.cli import main as cli  # noqa: F401  the commands register themselves
from flows.cli.common import app
from lm.finetune.config import FinetuneConfig
from lm.finetune.predictions import Predictions, read_predictions
from lm.finetune.summary import summarise
from lm.finetune.train import finetune
from tasks.finetune import FinetuneRequest, SummaryConfig, finetune_summary
from tasks.finetune import finetune as finetune_stage
from tasks.pages.finetune_figures import saliency_picture
from tasks.pages.finetune_findings import calibration, confusion, ranked, shown
from tasks.pages.finetune_page import finetune_page
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.storage.files import read_json
from tasks.store import Store
from tests.lm.finetune_cases import backbone_folder, task, write_set

QUICK: dict[str, Any] = {"epochs": 1, "batch": 8, "learning_rate": 3e-3, "evaluations": 1, "device": "cpu"}


class Page(HTMLParser):
    """Tags and visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(
    root: Path,
    name: str,
    kind: str = "bert",
    change: Callable[[list[dict[str, Any]]], None] | None = None,
    **settings: Any,
) -> tuple[str, Path]:
    """The report of one run, and its folder; `change` edits the dev examples before."""
    settings = {**QUICK, **settings}
    data = write_set(root / "data", name, train=16, valid=12, test=9)
    if change is not None:
        table = pq.read_table(data / "valid.parquet")
        rows = table.to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), data / "valid.parquet")
    finetune(data, backbone_folder(root / "model", kind), FinetuneConfig(**settings), root / "tuned")
    result = read_json(root / "tuned" / "metrics.json")
    summary = summarise([root / "tuned"], [result])
    found = {f"{s}_{m}": result[s][m] for s in ("valid", "test") for m in summary["splits"][s]}
    summary["runs"] = [{"artifact": "finetune/k", "seed": 0, "looks": result["looks"], **found}]
    return finetune_page(summary, root / "tuned", data), root / "tuned"


def test_what_did_not_fit_is_said(tmp_path: Path) -> None:
    html, folder = page_of(tmp_path, "single", max_tokens=8)
    lost = read_json(folder / "metrics.json")["lost"]
    said = f"{lost['valid']['cut']} dev examples with a text too long for the model, whose end it did not read"
    assert f"Not everything fitted: {lost['train']['cut']} training examples with" in Page(html).text
    assert said in Page(html).text
    html, _ = page_of(tmp_path / "whole", "tagging")
    assert "Not everything fitted" not in Page(html).text


def test_a_run_that_stopped_early_is_said_to_have(tmp_path: Path) -> None:
    html, _ = page_of(tmp_path, "single", epochs=4, evaluations=4, learning_rate=1e-12)
    text = Page(html).text
    assert "A run looks at dev 4 times and keeps the weights that were best there. After 2 in a row without" in text
    assert "a better one it stops: 1 of 1 did so early." in text
    assert "3 of 4 best on dev" in text
    html, _ = page_of(tmp_path / "whole", "single")
    assert "A run looks at dev once and keeps the weights that were best there." in Page(html).text
    assert "it stops" not in Page(html).text


@pytest.mark.parametrize(
    ("name", "kind", "titles"),
    [
        ("single", "bert", {"Confusion matrix", "Reliability diagram"}),
        ("similarity", "gpt", set()),
        ("choice", "gpt", {"Reliability diagram"}),
        ("tagging", "bert", {"Confusion matrix", "Reliability diagram"}),
        ("unanswerable", "bert", {"Reliability diagram"}),
        ("single", "rnn", {"Confusion matrix", "Reliability diagram"}),
    ],
)
def test_every_form_has_its_page(name: str, kind: str, titles: set[str], tmp_path: Path) -> None:
    html, folder = page_of(tmp_path, name, kind)
    page = Page(html)
    pictures = [attributes["aria-label"] or "" for tag, attributes in page.tags if tag == "svg"]
    assert {label for label in pictures if not label.startswith("What the score")} == titles
    assert any(label.startswith("What the score") for label in pictures) == (kind != "rnn")
    assert ("Where it errs on dev" in page.text) == bool(titles)  # of numbers there is no picture, nor a section
    assert "from a pretrained model: 1 epoch, batch 8" in page.text
    assert "1 seed, " in page.text
    assert "±" not in page.text  # one seed has no spread
    assert ("this kind of model has no embedding layer" in page.text) == (kind == "rnn")
    dev = read_predictions(folder / "predictions.parquet", "valid")
    for metric in dev.task.metrics:
        assert f"{dev.figure(metric)(range(len(dev.rows))):.3f}".lstrip("-") in page.text  # type: ignore[arg-type]
    wrong, _ = ranked(dev)
    assert all(dev.rows[place]["id"] in page.text for place in wrong[:12])
    assert not {"script", "link", "iframe", "img"} & {tag for tag, _ in page.tags}
    assert not any(name in ("src", "style") or name.startswith("on") for _, of in page.tags for name in of)
    assert "default-src 'none'" in html


def test_texts_stay_texts_and_addresses_stay_out(tmp_path: Path) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["text"] += " <script>alert(1)</script> \u202e mail ada.l@example.org now"
        rows[0]["text"] = "<b>red</b> boats"

    html, _ = page_of(tmp_path, "single", change=change)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "\u202e" not in html
    assert "example.org" not in html
    assert "[e-mail]" in html
    drawn = re.findall(r'aria-label="What the score[^"]*"', html)
    assert len(drawn) <= 1  # the pieces of an address would show it: only the text without one has a picture


def predictions(name: str, rows: list[dict[str, Any]]) -> Predictions:
    return Predictions(task(name), [{"id": str(n), **row} for n, row in enumerate(rows)])


def test_the_worst_errors_are_those_it_was_surest_of() -> None:
    def row(label: int, p: list[float]) -> dict[str, Any]:
        return {"label": label, "predicted": p.index(max(p)), "probabilities": p}

    of = predictions(
        "single", [row(0, [0.5, 0.3, 0.2]), row(1, [0.6, 0.4, 0.0]), row(2, [0.0, 0.9, 0.1]), row(0, [1, 0, 0])]
    )
    assert ranked(of) == ([2, 1], [3, 0])
    assert confusion(of) == (["apples", "boats", "clouds"], [[2, 0, 0], [1, 0, 0], [0, 1, 0]])
    found = calibration(of)
    assert found is not None
    bins, error = found
    # by hand: bins (.4, .5] right, (.5, .6] wrong, (.8, .9] wrong, (.9, 1] right
    assert error == pytest.approx((abs(1 - 0.5) + 0.6 + 0.9 + 0) / 4)
    assert sum(b.predictions for b in bins) == 4
    said = shown(of.task, of.rows[2], {"text": "grey rain", "text_b": None})
    assert (said.right, said.said, said.sure, said.texts) == ("clouds", "boats", 0.9, {"text": "grey rain"})


def test_tags_numbers_and_answers_are_ranked_by_their_kind() -> None:
    tags = [
        {"label": ["O", "B-PER"], "predicted": ["O", "B-PER"], "probabilities": [0.9, 0.8]},
        {"label": ["O", "B-PER"], "predicted": ["B-LOC", "B-PER"], "probabilities": [0.4, 0.99]},
        {"label": ["B-LOC"], "predicted": ["O"], "probabilities": [0.7]},
    ]
    of = predictions("tagging", tags)
    assert ranked(of) == ([2, 1], [0])
    words = shown(of.task, of.rows[1], {"words": ["a", "Ada"]})
    assert (words.words, words.sure) == ([("a", "O", "B-LOC")], 0.4)
    matrix = confusion(of)
    assert matrix is not None
    assert sum(map(sum, matrix[1])) == 5
    numbers = predictions("similarity", [{"label": 1.0, "predicted": p} for p in (1.5, 4.0, 1.1)])
    assert ranked(numbers) == ([1, 0, 2], [2, 0, 1])
    assert (calibration(numbers), confusion(numbers)) == (None, None)
    answers = [
        {"label": ["Ada"], "predicted": said, "probability": p}
        for said, p in (("Ada", 0.9), ("Bob", 0.3), ("Eve", 0.8), ("the Ada", 0.5))
    ]
    assert ranked(predictions("questions", answers)) == ([2, 1], [0, 3])


def test_a_long_text_is_drawn_in_lines_and_cut() -> None:
    drawn = str(saliency_picture(["word"] * 1000, [0.0, -2.0, *[1.0] * 998], "good"))
    assert "tokens more" in drawn
    assert drawn.count('class="warm"') == 1
    assert 'fill-opacity="0.75"' in drawn
    lines = {float(y) for y in re.findall(r'<rect[^>]* y="([\d.]+)"', drawn)}
    assert len(lines) == 12


def test_the_summary_holds_the_page_and_show_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.pretrain import named_model
    from lm.finetune.kinds import settings_of
    from tasks.adopt_labelled import AdoptLabelledConfig, adopt_labelled

    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    data = write_set(tmp_path / "data", "pairs", train=16, valid=8, test=0)
    with use_run(Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
        model = named_model(str(backbone_folder(tmp_path / "bert", "bert")), "model")
        settings = FinetuneConfig(**QUICK).resolve(settings_of(read_json(model.file("config.json"))))
        examples = adopt_labelled(AdoptLabelledConfig.of(data))
        runs = [finetune_stage(FinetuneRequest(settings=settings), examples=examples, model=model)]
        summary = finetune_summary(SummaryConfig(), runs=runs, examples=examples)
        summary.path.joinpath("report.html").read_text(encoding="utf-8").index("</html>")
    done = CliRunner().invoke(app, ["show", summary.name])
    assert done.exit_code == 0, done.output
    assert str(summary.path / "report.html") in done.output.replace("\n", "")


def test_a_sentence_without_words_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    def empty(rows: list[dict[str, Any]]) -> None:
        rows[0] |= {"words": [], "tags": []}

    page, folder = page_of(tmp_path, "tagging", change=empty)
    assert "<html" in page
    predictions = read_predictions(folder / "predictions.parquet", "valid")
    wrong, right = ranked(predictions)
    assert sorted(wrong + right) == [place for place, row in enumerate(predictions.rows) if row["label"]]
    assert len(wrong + right) == len(predictions.rows) - 1
