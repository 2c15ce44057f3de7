"""Instruction tuning through the mill: shipped configurations, messages, the command that talks."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.commands.chat import Chat, talk
from flows.config.instruct import InstructConfig, load_instruct, shipped_instruct
from flows.config.loading import CONFIGS, ConfigError
from flows.config.task import load_task
from flows.config.translation import load_translation
from flows.instruct import build_instructed
from flows.translate import pairs_of
from lm.labelled.folder import LabelledSet
from tasks.instruct import InstructRequest
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store
from tasks.translation import TRAIN, VALID, load_pairs
from tests.lm.chat_cases import backbone_folder, chats, conversation, turn

SHIPPED = sorted((CONFIGS / "instruct").glob("*.yaml"))
ROOT = Path(__file__).parents[2]


def run_in(root: Path) -> Run:
    return Run(Store(root / "store"), Resources(workers=1, threads=1), Display(quiet=True))


def chat_task(folder: Path, rows: list[list[dict[str, str]]] | None = None) -> str:
    folder.mkdir(exist_ok=True)
    given = [row["messages"] for row in chats(24, 1)] if rows is None else rows
    lines = [json.dumps({"messages": messages}, ensure_ascii=False) + "\n" for messages in given]
    (folder / "chats.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "chats.yaml").write_text(
        f"name: chats\nask: {{form: chat}}\ntrain: {{files: [{folder}/chats.jsonl]}}\ncut: {{valid: 0.2}}\n"
        "checks: {duplicates: report, leaks: report}\n"
    )
    return str(folder / "chats.yaml")


def docs_task(folder: Path) -> str:
    """The shipped task of docstrings, of two small packages of this environment."""
    path = folder / "docs.yaml"
    path.write_text(
        f"extends: {CONFIGS}/tasks/summarise-docs.yaml\n"
        "train: {packages: [fsspec]}\nvalid: {packages: [ftfy]}\ntest: null\nlimits: {train: 24, valid: 6}\n"
    )
    return str(path)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that a shipped configuration has taught, cut down."""
    root = tmp_path_factory.mktemp("taught")
    config = load_instruct(
        CONFIGS / "instruct" / "chat.yaml",
        {"task": chat_task(root), "model": str(backbone_folder(root / "gpt")), "train.device": "cpu"},
    )
    with use_run(run_in(root)) as run:
        made = build_instructed(config.smoke())
        stages = len(run.records)
        again = build_instructed(config.smoke())
        assert [record.state for record in run.records[stages:]] == ["cached"] * stages
    assert again.model.key == made.model.key
    counts = made.model.counts()
    assert {"steps", "parameters", "valid_bits_per_byte", "valid_exact_match", "train_conversations"} <= set(counts)
    return made.model.path


def test_docstrings_become_a_set_by_package_and_teach(tmp_path: Path) -> None:
    task = docs_task(tmp_path)
    config = load_instruct(CONFIGS / "instruct" / "summarise-docs.yaml", {"task": task}).smoke()
    start = str(backbone_folder(tmp_path / "gpt", context=96))
    config = config.model_copy(update={"model": start, "limits": {}})
    translation = load_translation(
        CONFIGS / "translation" / "transformer.yaml",
        {"pairs.train": "null", "pairs.valid": "null", "pairs.task": task},
    )
    with use_run(run_in(tmp_path)):
        made = build_instructed(config)
        pairs = pairs_of(translation.pairs)
    result = json.loads(made.model.file("result.json").read_text())
    assert result["train"]["given"] == 24
    rows = [json.loads(line) for line in made.model.file("answers.jsonl").read_text().splitlines()]
    assert rows[0]["messages"][0]["content"].startswith("Summarise: ")
    assert pairs.key == made.examples.key
    assert (len(load_pairs(pairs.file(TRAIN))), len(load_pairs(pairs.file(VALID)))) == (24, 6)
    read = LabelledSet(pairs.path)
    assert {id.partition(".")[0] for id in read.read("train")["id"].to_pylist()} == {"fsspec"}
    assert {id.partition(".")[0] for id in read.read("valid")["id"].to_pylist()} == {"ftfy"}


def test_another_model_or_setting_is_another_run_and_watching_is_not(tmp_path: Path) -> None:
    config = shipped_instruct()
    request = InstructRequest(chat=config.chat, train=config.train)
    watched = request.model_copy(update={"train": config.train.model_copy(update={"metrics_interval": 3})})
    assert watched.key_material() == request.key_material()
    other = request.model_copy(update={"chat": config.chat.model_copy(update={"dropout": 0.3})})
    assert other.key_material() != request.key_material()


def test_a_template_is_part_of_what_a_model_folder_is(taught: Path, tmp_path: Path) -> None:
    from tasks.adopt import AdoptConfig

    copy = tmp_path / "copy"
    shutil.copytree(taught, copy)
    before = AdoptConfig.of(copy).key_material()
    assert before == AdoptConfig.of(taught).key_material()
    described = json.loads((copy / "tokenizer_config.json").read_text())
    described["chat_template"] += " "
    (copy / "tokenizer_config.json").write_text(json.dumps(described))
    assert AdoptConfig.of(copy).key_material() != before


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_are_whole_and_need_a_model(path: Path) -> None:
    config = load_instruct(path)
    with pytest.raises(ConfigError, match="no model: give --model NAME"):
        config.needed()
    assert config.smoke().train.steps == 4
    assert InstructConfig.model_validate(config.model_dump(mode="json")) == config


def test_local_conversations_are_tasks() -> None:
    assert load_task(CONFIGS / "tasks" / "local" / "trec-chat.yaml").ask.form == "chat"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"model": "m"}, "nothing to learn: give --task NAME"),
        ({"model": "m", "task": "a", "data": "b"}, "give either task or data, not both"),
        ({"model": "m", "data": "b", "limits.train": "3"}, "limits are for a task"),
        ({"chat.prompt": "Say it"}, "has no {source}: the model would not see"),
        ({"chat.packng": "true"}, r"did you mean 'chat\.packing'"),
        ({"train.steps": "3"}, "give exactly one of steps, tokens and epochs"),
    ],
)
def test_a_wrong_key_or_value_is_named(override: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_instruct(CONFIGS / "instruct" / "chat.yaml", override).needed()


def test_what_cannot_be_learned_or_taught_is_said(tmp_path: Path) -> None:
    model = str(backbone_folder(tmp_path / "gpt"))
    bad = [conversation(f"What {n}?", "") for n in range(40)]
    twice = [[*conversation(f"What {n}?", "y"), turn("assistant", "z")] for n in range(40)]
    (tmp_path / "labels.yaml").write_text(
        "name: labels\nask: {form: classification, classes: [a, b]}\ntrain: {files: [x.jsonl]}\n"
    )
    (tmp_path / "empty").mkdir()
    for task, start, message in (
        (
            chat_task(tmp_path / "bad", bad),
            model,
            "chats.jsonl: line 1: message 1 .'assistant'.: an empty",
        ),
        (chat_task(tmp_path / "twice", twice), model, "message 2 .'assistant'.: two assistant turns in a row"),
        (str(tmp_path / "labels.yaml"), model, "a task of form classification; chat or generation is needed"),
        ("no-such", model, "task: no-such is no file and no shipped task; there are .*sst-2.*summarise-docs"),
        (chat_task(tmp_path), str(tmp_path / "empty"), r"model: .*empty is no model's folder: .*config\.json is not"),
        (chat_task(tmp_path), "pretrain", "model: 'pretrain' is a stage, and its newest artifact changes"),
    ):
        overrides = {"task": task, "model": start, "train.device": "cpu"}
        config = load_instruct(CONFIGS / "instruct" / "chat.yaml", overrides).smoke()
        with use_run(run_in(tmp_path)), pytest.raises(ConfigError, match=f"(?s){message}"):
            build_instructed(config)


def test_a_message_is_answered_and_a_conversation_goes_on(taught: Path, tmp_path: Path) -> None:
    os.environ["TEXTMILL_HOME"] = str(tmp_path / "home")
    call = ["chat", str(taught), "--tokens", "6", "--message", "What colour is snow?", "--message", "And the sky?"]
    done = CliRunner().invoke(app, [*call, "--json", "--system", "Be brief."], catch_exceptions=False)
    found = json.loads(done.stdout)
    assert len(found["answers"]) == 2
    assert found["messages"][0] == turn("system", "Be brief.")
    said = [message["content"] for message in found["messages"] if message["role"] == "assistant"]
    assert said == [answer for answer in found["answers"] if answer.strip()]
    again = CliRunner().invoke(app, [*call, "--json", "--system", "Be brief."], catch_exceptions=False)
    assert again.stdout == done.stdout
    nobody = CliRunner().invoke(app, ["chat", str(taught)])
    assert nobody.exit_code == 1
    assert "say something with --message TEXT" in nobody.output
    (plain := tmp_path / "gpt").parent.mkdir(exist_ok=True)
    backbone_folder(plain)
    with pytest.raises(ConfigError, match="it has no chat template: `textmill instruct` makes a model with one"):
        Chat(plain, None, 5, 0)


def test_talking_ends_with_an_empty_line_and_survives_what_does_not_fit(taught: Path) -> None:
    said, shown = iter(["What colour is snow?", "sky " * 99, "And grass?", " "]), []
    talk(Chat(taught, None, 4, 0, temperature=0.0), lambda: next(said), shown.append)
    assert len(shown) == 3
    assert "tokens leave no room for an answer in a context of 48" in shown[1]
    assert next(said, None) is None

    def closed() -> str:
        raise EOFError

    talk(Chat(taught, None, 4, 0), closed, shown.append)
    assert len(shown) == 3


def test_a_terminal_is_talked_on(taught: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TEXTMILL_HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "TERM": "dumb"}
    command = [sys.executable, "-c", "from flows.cli.main import main; main()", "chat", str(taught), "--tokens", "3"]
    os.write(ours, b"What colour is snow?\n\n")
    done = subprocess.run(command, env=environment, stdin=theirs, capture_output=True, text=True, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, done.stderr
    assert "An empty line ends the conversation." in done.stdout
    assert done.stdout.count("> ") == 2
