"""docs/howto/finetune.md runs: its files are written, its commands go through the command line, its code is run."""

import json
import random
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli import flows as cli_flows
from flows.cli import main as cli  # noqa: F401  the commands register themselves
from flows.cli.common import app
from flows.config.finetune import TuningConfig, load_tuning
from flows.finetune import Tuned, build_tuned
from tasks.machine import home
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store
from tests.lm.finetune_cases import backbone_folder

PAGE = Path(__file__).parents[2] / "docs/howto/finetune.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, block in BLOCKS if not kind for line in block.splitlines() if line.startswith("textmill")]
SETTINGS = re.findall(r"`(--set [^`]*)`", PAGE.read_text(encoding="utf-8"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the page is read in, with its files and the configurations."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    draw = random.Random(0)
    header, *shown = next(block for kind, block in BLOCKS if not kind and "mood" in block).splitlines()
    words = {line.rpartition(",")[2]: line.rpartition(",")[0].split() for line in shown}
    rows = [f"{' '.join(draw.choices(of, k=6))} {n},{mood}" for n in range(30) for mood, of in words.items()]
    (tmp_path / "reviews.csv").write_text("\n".join([header, *rows]) + "\n")
    (tmp_path / "new.csv").write_text("number,text\n1,a warm heart\n2,dull to the last\n")
    (tmp_path / "reviews.yaml").write_text(next(block for kind, block in BLOCKS if kind == "yaml"))
    (tmp_path / "configs").symlink_to(PAGE.parents[2] / "configs")
    return tmp_path


def test_the_page_runs(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made: list[Tuned] = []

    def without_a_server(entrypoint: str, settings: TuningConfig, as_json: bool) -> None:
        assert entrypoint == "flows.finetune:tuning_flow"
        with use_run(Run(Store(home.store_path()), Resources(workers=1, threads=1), Display(quiet=True))):
            made.append(build_tuned(settings))

    monkeypatch.setattr(cli_flows, "start_flow", without_a_server)
    check, finetune, predict, compare, show = [*COMMANDS, "textmill show finetune/KEY"]
    runner = CliRunner()

    def run(line: str) -> str:
        done = runner.invoke(app, shlex.split(line)[1:])
        assert done.exit_code == 0, (line, done.output, done.exception)
        return done.output

    assert show in PAGE.read_text(encoding="utf-8")
    run(check)
    run(finetune.replace("MODEL", str(backbone_folder(place / "bert", "bert"))) + " --set settings.device=cpu")
    [tuned] = made
    assert len(tuned.runs) == 3
    run(predict.replace("finetune/KEY", str(tuned.best.path)))
    said: list[dict[str, Any]] = [json.loads(line) for line in (place / "said.jsonl").read_text().splitlines()]
    assert [row["number"] for row in said] == ["1", "2"]
    assert {row["label"] for row in said} <= {"good", "bad"}
    run("textmill predict finetune_summary new.csv --out best.jsonl")
    assert (place / "best.jsonl").read_bytes() == (place / "said.jsonl").read_bytes()
    compare = compare.replace("finetune_summary/KEY", "finetune_summary")
    assert "valid accuracy" in run(compare.replace("finetune_summary/OTHER", tuned.best.name))
    (place / "tuned").symlink_to(tuned.best.path)
    exec(next(block for kind, block in BLOCKS if kind == "python"), {})
    assert "probabilities" in capsys.readouterr().out
    report = tuned.summary.file("report.html").read_text(encoding="utf-8").lower()
    terms = re.findall(
        r"^- \*\*(.+?)\*\*", PAGE.read_text(encoding="utf-8").partition("## Read the report")[2], re.MULTILINE
    )
    assert len(terms) == 5
    assert [term for term in terms if term.lower() not in report] == []
    for name in ("predictions.parquet", "metrics.json", "config.json", "model.safetensors", "tokenizer.json"):
        assert f"`{name}`" in PAGE.read_text(encoding="utf-8")
        assert tuned.best.file(name).exists()


@pytest.mark.parametrize("given", SETTINGS)
def test_every_setting_of_the_page_is_one(given: str, place: Path) -> None:
    pairs = dict(item.split("=", 1) for item in given.replace("--set ", "").split())
    limits = {"task": "reviews.yaml"} if any(key.startswith("limits") for key in pairs) else {}
    plain = Path("configs/finetune/small-bert.yaml")
    assert load_tuning(plain, {**pairs, **limits}) != load_tuning(plain)
