"""The command line on a store that a pipeline in this process made: names, JSON and messages."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli.main import app, main
from flows.corpus import build_corpus
from flows.pipeline import build_all
from tasks.running import pool
from tasks.running.journal import JOURNAL, read_events
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store
from tests.tasks.tiny_corpus import configuration, write_documents

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LS_NAMES = {"key", "kind", "stage", "content_digest", "path", "bytes", "created"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose store holds the artifacts of a whole pipeline over generated documents."""
    root = tmp_path_factory.mktemp("cli")
    write_documents(root / "documents")
    store = Store(root / "home" / "store")
    with use_run(Run(store, Resources(workers=1, threads=1), Display(quiet=True))):
        build_all(configuration(root / "documents"))
    yield root / "home"
    pool.shut_down()


@pytest.fixture
def textmill(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call a command; returns what it printed."""
    monkeypatch.setenv("TEXTMILL_HOME", str(home))

    def call(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return call


def test_of_several_fine_tunings_the_best_on_dev_is_registered(home: Path) -> None:
    store = Store(home / "store")
    journals = [artifact.path / "_run" / JOURNAL for artifact in store.list()]
    told = [event for path in journals for _, event in read_events(path) if event["event"] == "model"]
    registered = {event["name"]: event for event in told}
    assert len(told) == len(registered) == 2
    accuracy = {artifact.key: artifact.counts()["valid_accuracy"] for artifact in store.list("finetune")}
    assert len(accuracy) > 1
    best = registered["textmill-finetuned"]
    assert best["params"]["initialisation"] == "pretrained"
    pretrained = [a for a in store.list("finetune") if a.manifest()["config"]["initialisation"] == "pretrained"]
    assert accuracy[best["key"]] == max(accuracy[artifact.key] for artifact in pretrained)


def test_ls_names_are_stable(textmill: Any) -> None:
    artifacts = json.loads(textmill("ls", "--json"))
    assert {frozenset(a) for a in artifacts} == {frozenset(LS_NAMES)}
    assert {"ingest", "filter_corpus", "pretrain", "finetune", "report"} <= {a["stage"] for a in artifacts}
    assert not any("." in a["stage"] for a in artifacts)
    parts = json.loads(textmill("ls", "--parts", "--json"))
    assert "normalize.shard" in {a["stage"] for a in parts if a["kind"] == "part"}
    sizes = {stage: sum(a["bytes"] for a in parts if a["stage"] == stage) for stage in ("normalize", "normalize.shard")}
    assert sizes["normalize"] == sizes["normalize.shard"] > 1000  # an artifact is as large as its parts


def test_show_leads_back_to_the_sources(textmill: Any) -> None:
    shown = json.loads(textmill("show", "finetune", "--json"))
    assert shown["counts"]["steps"] > 0
    stages = [step["stage"] for step in shown["lineage"]]
    assert stages[0] == "finetune"
    assert "ingest" in stages
    assert "52 source files" in textmill("show", "finetune") or "source files" in textmill("show", "finetune")


def test_why_names_rule_value_threshold_and_twin(textmill: Any) -> None:
    short = json.loads(textmill("why", "gardens:short.txt", "--json"))
    assert not short["kept"]
    fired = {rule["rule"]: rule for rule in short["rules"] if rule["fired"]}
    assert short["reason"] in fired
    assert fired["gopher_quality.gopher_short_doc"]["value"] < fired["gopher_quality.gopher_short_doc"]["threshold"]
    copy = json.loads(textmill("why", "harbours:copy.txt", "--json"))
    assert (copy["reason"], copy["twin"], copy["jaccard"]) == ("duplicate.exact", "gardens:copy.txt", 1.0)
    assert "in favour of gardens:copy.txt (Jaccard 1.000)" in textmill("why", "harbours:copy.txt")


def test_why_follows_a_kept_document_to_the_models(textmill: Any, home: Path) -> None:
    kept = [json.loads(textmill("why", f"gardens:{n:02d}.txt", "--json")) for n in range(25)]
    trained = [answer for answer in kept if answer["kept"] and answer["split"]["split"] == "train"]
    assert trained
    assert any(name.startswith("pretrain/") for name in trained[0]["used_by"])
    assert any(name.startswith("finetune/") for name in trained[0]["used_by"])
    assert all(answer["used_by"] == [] for answer in kept if answer["kept"] and answer["split"]["split"] != "train")


def test_why_finds_what_was_reused_for_a_corpus_of_the_same_documents(
    textmill: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(home, tmp_path / "home")
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    before = next(
        answer
        for number in range(25)
        if (answer := json.loads(textmill("why", f"gardens:{number:02d}.txt", "--json"))).get("used_by")
    )
    with use_run(Run(Store(tmp_path / "home" / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
        rules = {"rulesets": ["gopher_repetition", "gopher_quality"], "drop": {"ids": ["gardens:short.txt"]}}
        corpus = build_corpus(configuration(home.parent / "documents", rules=rules))  # it went before, too
    after = json.loads(textmill("why", before["document"], "--corpus", corpus.kept.name, "--json"))
    assert after["corpus"] != before["corpus"]
    assert (after["split"], after["used_by"]) == (before["split"], before["used_by"])


def error_of(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `main` says of an expected error, with white space folded; exit status 1."""
    monkeypatch.setenv("TEXTMILL_HOME", str(home))
    monkeypatch.setattr(sys, "argv", ["textmill", *arguments])
    monkeypatch.setattr("atexit.register", lambda function: function)
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == 1
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["why", "no-such-document"], "no document 'no-such-document' in filter_corpus/"),
        (["why", "gardens:1"], "is part of several ids"),
        (["why", "gardens:empty.txt"], "became no document; ingest skipped"),
        (["why", "x", "--corpus", "ingest"], "is no filtered corpus"),
        (["show", "nothing"], "no artifact is called 'nothing'; `textmill ls` lists them"),
        (["unpin", "none"], "no alias is called 'none'"),
        (["run", "configs/quickstart.yaml", "--set", "name"], "write KEY=VALUE"),
        (["run", "configs/missing.yaml"], "no such file; shipped configurations"),
        (["show", "[/markup]"], "no artifact is called '[/markup]'"),
        (["ls", "nosuch"], "no artifact is of the stage 'nosuch'; there are: "),
        (["trace", "abc", "--model", "x"], "name either a document, or a model with --model"),
        (["diff", "a", "b", "--out", "changes.csv"], "changes.csv: what is written is a Parquet file: give it a name"),
        (["trace", "--model", "x", "--out", "docs.txt"], "docs.txt: what is written is a Parquet file: give it a name"),
        (["show", "a:100:b"], "no artifact is called 'a:100:b'"),  # no emoji
        (["tune", "--rulesets", "c4, nosuch"], "unknown ruleset 'nosuch'; valid are"),
        (["generate", "ingest"], "no model there"),
        (
            ["run", "configs/quickstart-small.yaml", "--dry-run", "--set", "ingest.sources.0.packages=[not_there]"],
            "package 'not_there' is not installed. Install it",
        ),
    ],
)
def test_errors_are_one_line_and_say_what_to_do(
    arguments: list[str],
    message: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert message in error_of(home, monkeypatch, capsys, *arguments)


def test_a_dry_run_where_nothing_ever_ran_names_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, textmill: Any
) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    said = textmill("run", "configs/quickstart-small.yaml", "--dry-run")
    assert said.rstrip().endswith("to build: none ever ran here, so nothing is known of time and memory")
    assert " 0 s" not in said


def test_generate_continues_a_prompt(textmill: Any) -> None:
    first = textmill("generate", "pretrain", "--prompt", "The rose", "--tokens", "8", "--seed", "3")
    assert first.startswith("The rose")
    assert first == textmill("generate", "pretrain", "--prompt", "The rose", "--tokens", "8", "--seed", "3")


def test_gc_shows_before_it_deletes(textmill: Any, home: Path) -> None:
    before = len(json.loads(textmill("ls", "--json")))
    said = textmill("gc", "--keep-runs", "0", "--grace-hours", "0")
    assert "`textmill gc --delete --keep-runs 0 --grace-hours 0` removes them" in said
    assert len(json.loads(textmill("ls", "--json"))) == before


def test_why_imports_neither_prefect_nor_mlflow_nor_torch(home: Path) -> None:
    code = (
        "import sys; from flows.cli.main import app; "
        "app(['why', 'gardens:short.txt'], standalone_mode=False); "
        "heavy = {'prefect', 'mlflow', 'torch', 'datasets', 'spacy', 'numba'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=_environment(home), capture_output=True)


def test_every_command_of_the_readme_and_docs_exists() -> None:
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    commands |= {group.name for group in app.registered_groups if group.name}
    modules = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"(?:`|^ *)(?:\.venv/bin/)?textmill ([a-z][a-z-]*)", text, re.M))
        assert named <= commands, f"{page} names {named - commands}"
        for module in re.findall(r"python -m ((?:benchmarks|data_quality|flows|lm|tasks)[\w.]*\w)", text):
            place = ROOT.joinpath(*module.split("."))
            assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), f"{page} names {module}"
            modules.add(module)
    assert len(modules) > 40
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert re.search(rf"^{target}:", makefile, re.M), f"README names make {target}"


def _environment(home: Path) -> dict[str, str]:
    import os

    return {**os.environ, "TEXTMILL_HOME": str(home), "PYTHONPATH": str(ROOT)}
