"""Studies: every run an artifact, one table and a picture; a killed one goes on; what is wrong is said."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from flows.cli import main as cli  # noqa: F401  the commands register themselves
from flows.cli.common import app
from flows.config.loading import CONFIGS, ConfigError
from flows.config.study import StudyConfig, load_study
from flows.study import build_study
from lm.finetune.predictions import read_predictions
from lm.finetune.study import against, resolution
from lm.finetune.summary import reached
from tasks.card import facts
from tasks.cards.page import front_matter
from tasks.pages.study_page import _difference
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.storage.files import read_json
from tasks.store import Store
from tests.lm.finetune_cases import backbone_folder, examples, tagged

pytestmark = pytest.mark.heavy

SHIPPED = sorted((CONFIGS / "studies").glob("*.yaml"))


def run_in(root: Path) -> Run:
    return Run(Store(root / "store"), Resources(workers=1, threads=1), Display(quiet=True))


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return backbone_folder(tmp_path_factory.mktemp("gpt"), "gpt")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task of three topics in a file."""
    folder = tmp_path_factory.mktemp("task")
    lines = ["text\ttopic"]
    lines += [f"{row['text']}\t{('apples', 'boats', 'clouds')[row['label']]}" for row in examples("single", 90)]
    (folder / "topics.tsv").write_text("\n".join(lines) + "\n")
    (folder / "topics.yaml").write_text(
        "name: topics\nask: {form: classification, classes: [apples, boats, clouds]}\n"
        f"read: {{fields: {{label: topic}}}}\ntrain: {{files: [{folder}/topics.tsv]}}\n"
        "cut: {valid: 0.2, test: 0.2}\n"
    )
    return folder / "topics.yaml"


def config(task: Path, gpt: Path, **changes: Any) -> StudyConfig:
    quick = {"epochs": 1, "batch": 8, "evaluations": 1, "device": "cpu", "max_tokens": 16}
    given = {
        "name": "test",
        "tasks": [str(task)],
        "models": {"gpt": str(gpt)},
        "labels": [8, 1000, "all"],
        "seeds": [0, 1],
        "baseline": "words",
        "systems": {
            "words": {"kind": "bag_of_words"},
            "gpt": {"model": "gpt", "settings": quick},
            "random": {"model": "gpt", "against": "gpt", "settings": {**quick, "initialisation": "random"}},
        },
        **changes,
    }
    return StudyConfig.model_validate(given)


def test_a_study_is_a_table_and_a_picture_and_is_reused(task: Path, gpt: Path, tmp_path: Path) -> None:
    asked = config(task, gpt)
    with use_run(run_in(tmp_path)) as run:
        made = build_study(asked)
        built = [record.stage for record in run.records if record.state == "built"]
        # 1,000 labels are more than there are: they are `all`, once
        assert (built.count("finetune"), built.count("bag_of_words"), built.count("study")) == (8, 2, 1)
        before = len(run.records)
        assert build_study(asked).report == made.report
        assert {record.state for record in run.records[before:]} == {"cached"}
    said = read_json(made.report.file("study.json"))
    by_all = said["rows"][-1]["examples"]
    assert 8 < by_all < 90
    assert [(row["examples"], row["system"]) for row in said["rows"][:4]] == [
        (8, "words"),
        (8, "gpt"),
        (8, "random"),
        (by_all, "words"),
    ]
    by_place = {(row["labels"], row["system"]): row for row in said["rows"]}
    row = by_place["all", "gpt"]
    values = [read_json(run.file("metrics.json"))["test"]["accuracy"] for run in made.runs[6:8]]
    assert row["values"] == pytest.approx(values)
    assert row["mean"] == pytest.approx(np.mean(values))
    assert row["sd"] == pytest.approx(np.std(values, ddof=1))
    assert row["low"] <= row["mean"] <= row["high"]
    base = by_place["all", "words"]
    assert base["against"] is None
    assert row["against"]["value"] == pytest.approx(row["mean"] - base["mean"])
    assert row["against"]["resolved"] == (not row["against"]["low"] <= 0 <= row["against"]["high"])
    other = by_place["all", "random"]
    assert (row["against"]["system"], other["against"]["system"]) == ("words", "gpt")
    assert other["against"]["value"] == pytest.approx(other["mean"] - row["mean"])
    page = made.report.file("study.md").read_text()
    assert f"| {by_all} | gpt |" in page
    assert ") to gpt |" in page
    assert f"What {row['items']} items can tell apart" in page
    picture = ElementTree.fromstring(made.report.file("topics.svg").read_text())
    circles = picture.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(circles) == len(said["rows"])
    assert made.report.counts()[f"topics/{by_all}/gpt/accuracy"] == row["mean"]


def test_the_page_says_what_did_not_fit_and_what_stopped_early(task: Path, gpt: Path, tmp_path: Path) -> None:
    """At a learning rate of nothing no look is better than the first."""
    still = {"epochs": 4, "batch": 8, "evaluations": 4, "learning_rate": 1e-12, "device": "cpu", "max_tokens": 8}
    systems = {
        "words": {"kind": "bag_of_words"},
        "gpt": {"model": "gpt", "settings": still},
        "random": {"model": "gpt", "settings": {**still, "initialisation": "random"}},
    }
    with use_run(run_in(tmp_path)):
        made = build_study(config(task, gpt, labels=[8], systems=systems))
    rows = {row["system"]: row for row in read_json(made.report.file("study.json"))["rows"]}
    assert rows["gpt"]["looks"] == [{"made": 3, "planned": 4}] * 2
    lost = rows["gpt"]["lost"]["test"]["cut"]
    page = made.report.file("study.md").read_text()
    assert "**Stopped early** were 4 of 4 runs, after 12 of 16 looks at dev in all" in page
    assert "\n- **gpt**, **random** at 8 labels: 8 training examples with a text too long for the model" in page
    assert f"{lost} test examples with a text too long for the model, whose end it did not read\n" in page


def test_a_bag_of_words_tags_words(gpt: Path, tmp_path: Path) -> None:
    """As it classifies texts: in the same systems, by the task's own metric, found again."""
    lines = []
    for row in tagged(60, 0):
        lines += [f"{word} {tag}" for word, tag in zip(row["words"], row["tags"], strict=True)] + [""]
    (tmp_path / "tags.conll").write_text("\n".join(lines) + "\n")
    tags = sorted({line.split()[1] for line in lines if line})
    (tmp_path / "tags.yaml").write_text(
        f"name: tags\nask: {{form: tagging, tags: {tags}}}\nread: {{format: conll, scheme: iob2}}\n"
        f"train: {{files: [{tmp_path}/tags.conll]}}\ncut: {{valid: 0.2, test: 0.2}}\n"
    )
    asked = config(tmp_path / "tags.yaml", gpt, labels=[8])
    with use_run(run_in(tmp_path)) as run:
        made = build_study(asked)
        before = len(run.records)
        assert build_study(asked).report == made.report
        assert {record.state for record in run.records[before:]} == {"cached"}
        card = facts(run.store, made.runs[0])
    rows = {row["system"]: row for row in read_json(made.report.file("study.json"))["rows"]}
    assert list(rows) == ["words", "gpt", "random"]
    assert rows["words"]["metric"] == "entity_f1"
    assert rows["words"]["values"] == [read_json(made.runs[0].file("metrics.json"))["test"]["entity_f1"]]
    assert rows["gpt"]["against"]["value"] == pytest.approx(rows["gpt"]["mean"] - rows["words"]["mean"])
    assert front_matter(card)["pipeline_tag"] == "token-classification"


def test_as_many_labels_as_there_are_is_all_of_them(task: Path, gpt: Path, tmp_path: Path) -> None:
    words = {"words": {"kind": "bag_of_words"}}
    with use_run(run_in(tmp_path)):
        made = build_study(config(task, gpt, labels=["all"], systems=words))
        there = read_json(made.report.file("study.json"))["rows"][0]["examples"]
        for labels in ([there, "all"], [there, there + 1000]):
            again = build_study(config(task, gpt, labels=labels, systems=words))
            assert [row["examples"] for row in read_json(again.report.file("study.json"))["rows"]] == [there]


def test_a_run_that_diverges_does_not_stop_the_others(
    task: Path, gpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import study
    from lm.train.non_finite import NonFiniteError

    def diverging(request: Any, **given: Any) -> Any:
        if request.settings.initialisation == "pretrained":
            raise NonFiniteError("the loss of step 3 is nan")
        return real(request, **given)

    real = study.finetune
    monkeypatch.setattr(study, "finetune", diverging)
    with (
        use_run(run_in(tmp_path)) as run,
        pytest.raises(
            ConfigError, match=r"(?s)the other 2 of 3 are done and kept; .*topics 8 gpt: the loss of step 3 is nan"
        ),
    ):
        build_study(config(task, gpt, labels=[8]))
    assert [record.stage for record in run.records if record.state == "built"].count("finetune") == 2


def test_fewer_labels_are_among_more(task: Path, gpt: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    with use_run(run_in(tmp_path)) as run:
        build_study(config(task, gpt, labels=[8, 16, "all"], systems={"words": {"kind": "bag_of_words"}}))
        sets = [record.artifact for record in run.records if record.stage == "labelled_set"]
    ids = [set(pq.read_table(made.file("train.parquet"), columns=["id"])["id"].to_pylist()) for made in sets]
    assert len(ids[0]) == 8
    assert ids[0] < ids[1] < ids[-1]


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from lm.train.trainer import Trainer
from flows.study import build_study
from flows.config.study import StudyConfig
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store

runs = 0
begin = Trainer.run

def counted(self):
    global runs
    runs += 1
    if runs == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return begin(self)

Trainer.run = counted
config, root = StudyConfig.model_validate_json(sys.argv[1]), Path(sys.argv[2])
with use_run(Run(Store(root / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
    build_study(config)
"""


def test_a_killed_study_goes_on_and_ends_alike(task: Path, gpt: Path, tmp_path: Path) -> None:
    asked = config(task, gpt, labels=[8])
    given = [asked.model_dump_json(), str(tmp_path / "killed")]
    done = subprocess.run([sys.executable, "-c", KILLED, *given], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == -signal.SIGKILL, done.stderr
    with use_run(run_in(tmp_path / "killed")) as run:
        made = build_study(asked)
        states = [record.state for record in run.records if record.stage == "finetune"]
    assert states == ["cached", "cached", "built", "built"]
    with use_run(run_in(tmp_path / "whole")):
        assert build_study(asked).report.digest == made.report.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": "none"}, r"baseline: 'none' is no system; there are words, gpt, random"),
        (
            {"systems": {"words": {"kind": "bag_of_words", "against": "x"}}},
            r"words.against: 'x' is no system; .* words",
        ),
        ({"settings_at": {"few": {}}}, r"settings_at: 'few' is no number of labels, nor `all`"),
        ({"labels": [50, 0]}, r"labels.1.*greater than or equal to 1"),
        ({"systems": {"words": {"kind": "finetune"}}}, r"a system of kind finetune names a `model`"),
        ({"systems": {"words": {"model": "gpt", "settings": {"epoch": 3}}}}, r"systems.words: .*epoch"),
        ({"systems": {"words": {"kind": "bag_of_words", "tasks": ["x"]}}}, r"tasks: 'x' is none of"),
    ],
)
def test_a_wrong_configuration_is_refused(changes: dict[str, Any], message: str, task: Path, gpt: Path) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}"):
        config(task, gpt, **changes)


def test_what_is_wrong_is_said_before_anything_is_trained(task: Path, gpt: Path, tmp_path: Path) -> None:
    with use_run(run_in(tmp_path)) as run:
        with pytest.raises(ConfigError, match=r"no model 'gpt': give --model gpt=NAME .*; there are none yet"):
            build_study(config(task, gpt, models={}))
        with pytest.raises(ConfigError, match="accurate"):
            build_study(config(task, gpt, metric="accurate"))
        score = task.with_name("score.yaml")
        score.write_text(
            "name: score\nask: {form: regression, low: 0, high: 2}\ncut: {valid: 0.2}\n"
            f"read: {{fields: {{label: topic}}}}\ntrain: {{files: [{task.with_name('scores.tsv')}]}}\n"
        )
        topics = task.with_name("topics.tsv").read_text()
        for number, name in enumerate(("apples", "boats", "clouds")):
            topics = topics.replace(f"\t{name}", f"\t{number}")
        task.with_name("scores.tsv").write_text(topics)
        with pytest.raises(
            ConfigError,
            match=r"systems.words: a bag of words classifies texts or tags words, and score is of form reg",
        ):
            build_study(config(task, gpt, tasks=[str(score)]))
        assert "finetune" not in [record.stage for record in run.records]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_studies_are_whole(path: Path) -> None:
    study = load_study(path)
    for system in study.systems.values():
        for labels in study.labels:
            if system.kind == "finetune":
                assert study.settings_of(system, labels).epochs > 0
    small = study.smoke()
    assert (small.labels, len(small.seeds)) == ((8, 16), 1)


def test_resolution_is_that_of_the_bootstrap() -> None:
    """Two systems of which only one is right on a tenth of the items, as often the one as the other."""
    from lm.evaluate.metrics import paired_bootstrap

    n = 1000
    first, second = np.ones(n), np.ones(n)
    first[:50], second[50:100] = 0, 0
    found = paired_bootstrap(first, second, draws=4000)
    assert (found.high - found.low) / 2 == pytest.approx(resolution(n)[0.1], rel=0.05)
    with pytest.raises(ValueError, match="a set without items"):
        resolution(0)


def test_figures_of_a_system_are_those_of_its_predictions(task: Path, gpt: Path, tmp_path: Path) -> None:
    with use_run(run_in(tmp_path)):
        made = build_study(config(task, gpt, labels=[8]))
    words, gpts = [made.runs[0].file("predictions.parquet")], [r.file("predictions.parquet") for r in made.runs[1:3]]
    found = reached([read_predictions(path, "test") for path in gpts], "accuracy")
    assert found["mean"] == pytest.approx(np.mean(found["values"]))
    both = against(gpts, words, "test"), against(words, gpts, "test")
    assert both[0]["value"] == pytest.approx(-both[1]["value"])
    with pytest.raises(ValueError, match="no predictions for split 'train'"):
        read_predictions(gpts[0], "train")


def test_a_small_p_value_is_no_zero() -> None:
    against = {"value": 0.2, "low": 0.1, "high": 0.3, "resolved": True, "system": "words"}
    assert _difference({**against, "p_value": 0.0004}).endswith("| < 0.001")
    assert _difference({**against, "p_value": 0.0014}).endswith("| 0.001")


def test_the_command_line_says_which_model_is_missing(task: Path, gpt: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(config(task, gpt, models={}).model_dump(mode="json")))
    done = CliRunner().invoke(app, ["study", str(file), "--model", "gpt"])
    assert done.exit_code == 1
    assert "--model gpt: write NAME=MODEL" in done.output
    done = CliRunner().invoke(app, ["study", str(file), "--model", "gtp=x"])
    assert done.exit_code == 1
    assert "no system of" in done.output
    assert "names a model 'gtp'; they name gpt" in " ".join(done.output.split())
    done = CliRunner().invoke(app, ["study", str(file)])
    assert isinstance(done.exception, ConfigError)
    assert "no model 'gpt': give --model gpt=NAME" in str(done.exception)


def test_the_page_has_a_study_that_can_be_run(task: Path, gpt: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/howto/study.md").read_text(encoding="utf-8")
    given = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    study = StudyConfig.model_validate(given)
    assert study.settings_of(study.systems["gpt"], 100).epochs == 20
    for path in SHIPPED:
        assert f"`configs/studies/{path.name}`" in page
