"""`textmill compare` of two fine-tunings: as the library compares them; sets that differ are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.commands.compare_finetunes import compare_finetunes, finetuning_of
from flows.config.finetune import TuningConfig
from flows.config.loading import ConfigError
from flows.finetune import Tuned, build_tuned
from lm.finetune.config import BaselineConfig
from lm.finetune.predictions import compare
from tasks.finetune import bag_of_words
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store
from tests.lm.finetune_cases import backbone_folder, write_set

pytestmark = pytest.mark.heavy

QUICK: dict[str, Any] = {"batch": 8, "evaluations": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two fine-tunings on one set, one without its test examples, one of another set, and a bag of words."""
    root = tmp_path_factory.mktemp("home")
    model = str(backbone_folder(root / "bert", "bert"))
    for name, sizes in {"pairs": {}, "short": {"test": 0}, "more": {"valid": 15}}.items():
        write_set(root / name, "pairs", **sizes)
    write_set(root / "other", "single")

    def tuned(data: str, epochs: float, *seeds: int) -> Tuned:
        config = {"name": "t", "preset": "small-bert", "settings": {**QUICK, "epochs": epochs}, "seeds": seeds}
        return build_tuned(TuningConfig.model_validate({**config, "data": str(root / data), "model": model}))

    with use_run(Run(Store(root / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
        long = tuned("pairs", 3, 0, 1)
        return {
            "root": root,
            "long": long,
            "brief": tuned("pairs", 1, 0),
            "short": tuned("short", 1, 0),
            "more": tuned("more", 1, 0),
            "other": tuned("other", 1, 0),
            "bag": bag_of_words(BaselineConfig(), examples=long.examples),
        }


def between(home: dict[str, Any], first: str, second: str) -> dict[str, Any]:
    store = Store(home["root"] / "store")
    both = [finetuning_of(store, name) for name in (first, second)]
    assert both[0] is not None
    assert both[1] is not None
    return compare_finetunes(*both)


def test_every_metric_of_both_splits_is_compared_as_the_library_does(home: dict[str, Any]) -> None:
    long, brief = home["long"], home["brief"]
    found = between(home, long.summary.name, brief.summary.name)
    shown = [(each["split"], each["metric"], each["items"]) for each in found["comparisons"]]
    assert shown == [("valid", "f1", 13), ("valid", "accuracy", 13), ("test", "f1", 14), ("test", "accuracy", 14)]
    files = [[run.file("predictions.parquet") for run in of.runs] for of in (long, brief)]
    for each in found["comparisons"]:
        expected = compare(*files, each["split"], each["metric"])
        assert {name: each[name] for name in expected} == expected
        assert each["first"]["seeds"] == 2
    one = between(home, long.runs[0].name, home["bag"].name)
    assert [each["first"]["seeds"] for each in one["comparisons"]] == [1] * 4
    assert between(home, str(long.runs[0].path), home["bag"].name)["comparisons"] == one["comparisons"]


def test_what_one_was_not_asked_is_left_out(home: dict[str, Any]) -> None:
    found = between(home, home["brief"].summary.name, home["short"].summary.name)
    assert {each["split"] for each in found["comparisons"]} == {"valid"}
    assert {each["difference"]["value"] for each in found["comparisons"]} == {0.0}


def test_the_command(home: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(home["root"]))
    names = [home["long"].summary.name, home["brief"].summary.name]
    told = CliRunner().invoke(app, ["compare", *names, "--json"], catch_exceptions=False)
    accuracy = json.loads(told.stdout)["comparisons"][-1]
    shown = CliRunner().invoke(app, ["compare", *names], catch_exceptions=False).stdout
    assert f"first   {names[0]}, 2 seeds" in shown
    assert f"second  {names[1]}, 1 seed\n" in shown
    line = next(line for line in shown.splitlines() if "test accuracy" in line)
    gap = accuracy["difference"]
    assert f"{gap['value']:+.4f}  ({gap['low']:+.4f} to {gap['high']:+.4f}, p {gap['p_value']:.4f})  n 14" in line
    with pytest.raises(ConfigError, match="--task blimp: names an exam; two fine-tunings are compared on their own"):
        CliRunner().invoke(app, ["compare", *names, "--task", "blimp"], catch_exceptions=False)
    [model] = [step["key"] for step in home["brief"].runs[0].manifest()["inputs"]["model"]]
    with pytest.raises(ConfigError, match=r"finetune_summary/\w+ is a fine-tuning and adopt_model/\w+ is none"):
        CliRunner().invoke(app, ["compare", f"adopt_model/{model}", names[0]], catch_exceptions=False)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("more", "they share 13 of 13 and 15 examples in valid: fine-tune both on one set"),
        ("other", r"pairs \(classification\) and single \(classification\) do not ask the same in valid"),
    ],
)
def test_sets_that_differ_are_refused(other: str, said: str, home: dict[str, Any]) -> None:
    names = home["brief"].summary.name, home[other].summary.name
    with pytest.raises(ConfigError, match=f"{names[0]} and {names[1]} cannot be compared, {said}"):
        between(home, *names)


def test_other_labels_of_the_same_examples_are_refused(home: dict[str, Any], tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from flows.commands.compare_finetunes import Finetuning

    table = pq.read_table(home["bag"].file("predictions.parquet"))
    labels = table["label"].to_pylist()
    changed = table.set_column(table.schema.get_field_index("label"), "label", [[1 - labels[0], *labels[1:]]])
    pq.write_table(changed.cast(table.schema), tmp_path / "predictions.parquet")
    other = Finetuning("changed", [tmp_path / "predictions.parquet"])
    same = finetuning_of(Store(home["root"] / "store"), home["bag"].name)
    assert same is not None
    with pytest.raises(ConfigError, match="1 of 13 examples have other labels in valid"):
        compare_finetunes(same, other)


def test_a_summary_whose_runs_are_gone_says_so(home: dict[str, Any]) -> None:
    store = Store(home["root"] / "store")
    [run] = home["other"].runs
    run.path.rename(home["root"] / "gone")
    try:
        with pytest.raises(ConfigError, match=rf"its run finetune/{run.key[:8]} is no longer in the store"):
            finetuning_of(store, home["other"].summary.name)
    finally:
        (home["root"] / "gone").rename(run.path)
