"""Searches as artifacts: killed and gone on with, decided on dev alone; docs/howto/search.md runs."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli import flows as cli_flows
from flows.cli import main as cli  # noqa: F401  the commands register themselves
from flows.cli.common import app
from flows.commands.start import _searched
from flows.config.loading import CONFIGS, ConfigError
from flows.config.search import SearchTuningConfig, load_search
from flows.search import Searched, build_searched
from lm.finetune import train
from lm.finetune.config import FinetuneConfig
from lm.finetune.search import proposals
from lm.finetune.search_config import SearchConfig, with_values
from lm.train.non_finite import NonFiniteError
from tasks.running.journal import JOURNAL, read_events
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, pipeline_run, use_run
from tasks.storage.files import read_json
from tasks.store import Store
from tests.lm.finetune_cases import backbone_folder, write_set

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/howto/search.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
QUICK: dict[str, Any] = {"epochs": 1, "batch": 8, "evaluations": 2, "device": "cpu"}
GRID = {"space": {"learning_rate": [1e-5, 1e-2]}}


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A labelled set and a model for it."""
    root = tmp_path_factory.mktemp("named")
    data = write_set(root / "data", "single", train=16, valid=12, test=9)
    return {"data": str(data), "model": str(backbone_folder(root / "bert", "bert"))}


def searching(named: dict[str, str], search: dict[str, Any], **changes: Any) -> SearchTuningConfig:
    given = {"name": "test", "preset": "small-bert", "settings": QUICK, "seeds": [0, 1], **named, **changes}
    return SearchTuningConfig.model_validate({**given, "search": search})


def run_in(root: Path) -> Run:
    return Run(Store(root / "store"), Resources(workers=1, threads=1), Display(quiet=True))


def states(run: Run, stage: str) -> list[str]:
    return [record.state for record in run.records if record.stage == stage]


def test_a_search_that_was_killed_goes_on_and_ends_as_if_it_had_not(named: dict[str, str], tmp_path: Path) -> None:
    """Killed in the middle of the third of four runs, each of which looks at dev three times; all ends the same."""
    config = searching(named, GRID)
    done = subprocess.run(
        [sys.executable, "-m", "tests.flows.search_driver", tmp_path / "store", config.model_dump_json(), "8"],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    with use_run(run_in(tmp_path)) as run:
        found = build_searched(config)
    assert states(run, "finetune") == ["cached"] * 2 + ["built"] * 2
    assert states(run, "search_trial") == ["cached", "built"]
    with use_run(run_in(tmp_path)) as again:
        build_searched(config)
    assert {record.state for record in again.records} == {"cached"}
    with use_run(run_in(tmp_path / "other")):
        whole = build_searched(config)
    assert whole.search.digest == found.search.digest
    assert [t.digest for t in whole.chosen.runs] == [t.digest for t in found.chosen.runs]


def test_dev_alone_decides_and_the_chosen_runs_are_summed_up(named: dict[str, str], tmp_path: Path) -> None:
    with use_run(run_in(tmp_path)) as run:
        made = build_searched(searching(named, {"space": {"learning_rate": [1e-6, 3e-3, 1e-2]}}))
    table = read_json(made.search.file("search.json"))
    by_trial = []
    for trial in made.trials:
        runs = [run.store.artifacts / i["stage"] / i["key"] for i in trial.manifest()["inputs"]["runs"]]
        by_trial.append([read_json(folder / "metrics.json")["valid"]["accuracy"] for folder in runs])
        assert "test" not in trial.file("trial.json").read_text()
    means = [sum(values) / len(values) for values in by_trial]
    assert [trial["mean"] for trial in table["trials"]] == pytest.approx(means)
    assert table["best"] == means.index(max(means))
    assert table["settings"] == table["trials"][table["best"]]["values"]
    assert made.chosen.runs[0].manifest()["config"]["learning_rate"] == table["settings"]["learning_rate"]
    assert set(read_json(made.chosen.summary.file("summary.json"))["splits"]) == {"valid", "test"}
    assert "test" not in made.search.file("search.json").read_text()
    shown = _searched(table)
    assert len(shown) == 3
    assert [name for name, said in shown.items() if said.endswith("chosen")] == [
        f"{table['best'] + 1}: learning_rate {table['settings']['learning_rate']:g}"
    ]


def test_each_trial_is_a_run_below_that_of_the_search(named: dict[str, str], tmp_path: Path) -> None:
    """What MLflow is told: one parent, and what a trial changed as its parameters."""
    store = Store(tmp_path / "store")
    config = searching(named, {"space": {"learning_rate": [1e-3, 1e-2]}}, seeds=[0])
    resources, quiet = Resources(workers=1, threads=1), Display(quiet=True)
    with pipeline_run("search", {}, resources, store=store, display=quiet, follow=False) as run:
        made = build_searched(config)
        token = run.token
    for trial, rate in zip(made.trials, (1e-3, 1e-2), strict=True):
        events = [event for _, event in read_events(trial.path / "_run" / JOURNAL)]
        [start] = [event for event in events if event["event"] == "start"]
        assert (start["parent"], start["params"]["values.learning_rate"]) == (token, rate)
        assert {e["key"] for e in events if e["event"] == "metric"} >= {"valid_accuracy_mean", "valid_accuracy_sd"}
    served = [event for _, event in read_events(made.chosen.summary.path / "_run" / JOURNAL)]
    assert [event["key"] for event in served if event["event"] == "serve"] == [made.chosen.best.key]


def test_an_estimator_asks_the_same_again_and_goes_on_from_there(named: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    space = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "batch": [8, 16], "evaluations": [1]}
    search = {"method": "optuna", "space": space, "trials": 3, "first": 2}
    with use_run(run_in(tmp_path)) as run:
        first = build_searched(searching(named, search, seeds=[0]))
        made: Searched = build_searched(searching(named, {**search, "trials": 4}, seeds=[0]))
    assert states(run, "finetune")[3:6] == ["cached"] * 3
    assert made.trials[:3] == first.trials
    rates = [trial["values"]["learning_rate"] for trial in read_json(made.search.file("search.json"))["trials"]]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)


def test_an_estimator_finds_the_top_of_a_hill() -> None:
    pytest.importorskip("optuna")
    space = {"learning_rate": {"low": 1e-6, "high": 1.0, "log": True}, "epochs": {"low": 1, "high": 9}}
    config = SearchConfig.model_validate({"method": "optuna", "space": space, "trials": 60, "seed": 1})
    asked = []
    talk = proposals(config)
    values = next(talk)
    for n in range(60):
        asked.append(values)
        distance = abs(values["learning_rate"] - 0.01) * 50
        score = None if n == 3 else -distance - abs(values["epochs"] - 6)
        try:
            values = talk.send(score)
        except StopIteration:
            break
    assert len(asked) == 60
    late = asked[40:]
    assert sum(v["epochs"] in (5, 6, 7) for v in late) > len(late) * 0.6
    assert sum(v["learning_rate"] < 0.05 for v in late) > len(late) * 0.6


def test_settings_that_diverge_are_listed_and_neither_chosen_nor_tried_again(
    named: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second seed is the one whose loss becomes infinite; asked again, no seed of these settings is trained."""
    real, tried = train.finetune, list[tuple[float, int]]()

    def exploding(data: Path, backbone: Path, settings: FinetuneConfig, *rest: Any) -> Any:
        tried.append((settings.learning_rate, settings.seed))
        if settings.learning_rate > 1 and settings.seed == 1:
            raise NonFiniteError("step 3: loss nan is not finite")
        return real(data, backbone, settings, *rest)

    monkeypatch.setattr(train, "finetune", exploding)
    config = searching(named, {"space": {"learning_rate": [50.0, 1e-3]}})
    with use_run(run_in(tmp_path)):
        made = build_searched(config)
    table = read_json(made.search.file("search.json"))
    assert table["settings"] == {"learning_rate": 1e-3}
    assert table["diverged"] == [{"learning_rate": 50.0}]
    assert tried == [(50.0, 0), (50.0, 1), (1e-3, 0), (1e-3, 1)]
    with use_run(run_in(tmp_path)) as run:
        assert build_searched(config).search == made.search
    assert len(tried) == 4
    assert {record.state for record in run.records} == {"cached"}
    [known] = [record for record in run.records if record.stage == "diverged_run"]
    assert known.label == "test trial 1 seed 1 diverged"
    assert read_json(known.artifact.file("diverged.json")) == {"said": "step 3: loss nan is not finite"}
    with (
        use_run(run_in(tmp_path)),
        pytest.raises(ConfigError, match="loss of all 2 trials became infinite: search among smaller rates"),
    ):
        build_searched(searching(named, {"space": {"learning_rate": [50.0, 60.0]}}))


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"space": {"lerning_rate": [1]}}, "'lerning_rate' is no setting to be searched; did you mean 'learning_rate'"),
        ({"space": {"seed": [1, 2]}}, "'seed' is no setting to be searched"),
        ({"space": {"epochs": {"low": 1, "high": 3}}}, "'epochs' is a range; a grid needs a list of values"),
        ({"space": {"epochs": []}}, "'epochs' has no values"),
        ({"space": {"epochs": {"low": 3, "high": 3}}, "method": "optuna"}, "low must be below high"),
        ({"space": {}}, "at least 1 item"),
    ],
)
def test_what_cannot_be_searched_is_said(search: dict[str, Any], message: str, named: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        searching(named, search)


def test_values_that_a_setting_cannot_have_are_said_before_anything_runs(named: dict[str, str], tmp_path: Path) -> None:
    with (
        use_run(run_in(tmp_path)) as run,
        pytest.raises(
            ConfigError, match=r"space: batch=0, epochs=2: batch: Input should be greater than or equal to 1"
        ),
    ):
        build_searched(searching(named, {"space": {"batch": [8, 0], "epochs": [2]}}))
    assert not run.records


def test_nested_settings(named: dict[str, str]) -> None:
    config = searching(named, {"space": {"lora.rank": [2, 4]}})
    ranks = [with_values(config.settings, values).lora for values in config.search.grid()]
    assert [lora.rank for lora in ranks if lora is not None] == [2, 4]


def test_without_the_package_the_extra_is_named(
    named: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    search = {"method": "optuna", "space": {"epochs": [1, 2]}}
    with use_run(run_in(tmp_path)), pytest.raises(ConfigError, match=r"pip install -e '\.\[search\]'"):
        build_searched(searching(named, search))


@pytest.mark.parametrize("path", sorted((CONFIGS / "search").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_searches_load_and_can_be_cut_down(path: Path) -> None:
    config = load_search(path)
    config.search.check(config.settings)
    small = config.smoke()
    assert (len(small.seeds), small.settings.epochs, small.search.trials) == (1, 1, 2)
    assert set(small.search.space) == set(config.search.space)


def test_the_page_runs(named: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    made: list[Searched] = []

    def without_a_server(entrypoint: str, settings: SearchTuningConfig, as_json: bool) -> None:
        assert entrypoint == "flows.search:search_flow"
        with use_run(run_in(tmp_path)):
            made.append(build_searched(settings))

    monkeypatch.setattr(cli_flows, "start_flow", without_a_server)
    files = [block for kind, block in BLOCKS if kind == "yaml"]
    (tmp_path / "rates.yaml").write_text(files[0])
    (tmp_path / "estimated.yaml").write_text(files[1])
    assert load_search(tmp_path / "estimated.yaml").search.trials == 20
    [command] = [block.strip() for kind, block in BLOCKS if not kind]
    command = command.replace("--task reviews.yaml", f"--data {named['data']}").replace("MODEL", named["model"])
    small = [f"--set=settings.{key}={value}" for key, value in QUICK.items()] + ["--set=seeds=[0]"]
    done = CliRunner().invoke(app, [*shlex.split(command)[1:], *small])
    assert done.exit_code == 0, (done.output, done.exception)
    [searched] = made
    assert [json.loads(t.file("trial.json").read_text())["values"]["learning_rate"] for t in searched.trials] == [
        3e-4,
        1e-3,
        3e-3,
    ]
