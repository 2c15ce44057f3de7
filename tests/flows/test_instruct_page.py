"""docs/howto/instruct.md runs: its files are written, its commands go through the command line, its code is run."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import flows as cli_flows
from flows.cli.main import app
from flows.config.instruct import InstructConfig, load_instruct
from flows.config.translation import load_translation
from flows.instruct import Instructed, build_instructed
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store
from tests.lm.chat_cases import backbone_folder, chats

PAGE = Path(__file__).parents[2] / "docs/howto/instruct.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
LINES = [line for kind, block in BLOCKS if not kind for line in block.replace("\\\n", "").splitlines()]
COMMANDS = [line for line in LINES if line.startswith("textmill")]
SETTINGS = re.findall(r"`(--set [^`]*)`", TEXT)


def block(kind: str) -> str:
    [found] = [text for name, text in BLOCKS if name == kind]
    return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the page is read in, with its files and the configurations."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    more = "".join(json.dumps({"messages": row["messages"]}, ensure_ascii=False) + "\n" for row in chats(24, 1))
    (tmp_path / "chats.jsonl").write_text(block("jsonl") + more, encoding="utf-8")
    (tmp_path / "chats.yaml").write_text(block("yaml"), encoding="utf-8")
    (tmp_path / "configs").symlink_to(PAGE.parents[2] / "configs")
    return tmp_path


def test_the_page_runs(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made: list[Instructed] = []

    def without_a_server(entrypoint: str, settings: InstructConfig, as_json: bool) -> None:
        assert entrypoint == "flows.instruct:instruct_flow"
        with use_run(Run(Store(place / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
            made.append(build_instructed(settings))

    monkeypatch.setattr(cli_flows, "start_flow", without_a_server)
    check, instruct, chat, summarise, _, export = COMMANDS
    runner = CliRunner()

    def run(line: str) -> str:
        done = runner.invoke(app, shlex.split(line)[1:])
        assert done.exit_code == 0, (line, done.output, done.exception)
        return done.output

    run(check)
    run(instruct.replace("MODEL", str(backbone_folder(place / "gpt", context=128))) + " --set train.device=cpu")
    [taught] = made
    folder = taught.model.path
    assert run(chat.replace("instruct/KEY", str(folder)))
    run(export.replace("instruct/KEY", str(folder)))
    template = json.loads((place / "hf" / "tokenizer_config.json").read_text())["chat_template"]
    assert template == json.loads((folder / "tokenizer_config.json").read_text())["chat_template"]
    assert "{% generation %}" in template
    (place / "taught").symlink_to(folder)
    exec(block("python"), {})
    assert capsys.readouterr().out
    for name in re.findall(r"`([a-z_]+\.(?:json|jsonl|safetensors))`", TEXT):
        assert (folder / name).exists() or name == "chats.jsonl"
    counts = taught.model.counts()
    assert counts["valid_bits_per_byte"] < counts["untrained_bits_per_byte"]
    assert load_instruct(Path(shlex.split(summarise)[2])).chat.prompt == "Summarise: {source}"


@pytest.mark.parametrize("given", SETTINGS)
def test_every_setting_of_the_page_is_one(given: str, place: Path) -> None:
    pairs = dict(item.split("=", 1) for item in shlex.split(given.replace("--set ", "")))
    limits = {"task": "chats.yaml"} if any(key.startswith("limits") for key in pairs) else {}
    plain = Path("configs/instruct/chat.yaml")
    assert load_instruct(plain, {**pairs, **limits}) != load_instruct(plain)


def test_the_translators_command_is_one(place: Path) -> None:
    [_, _, path, *options] = shlex.split(COMMANDS[4])
    pairs = dict(item.split("=", 1) for item in options if item != "--set")
    assert load_translation(Path(path), pairs).pairs.task == "summarise-docs"


def test_the_text_of_the_page_is_what_the_template_writes() -> None:
    from lm.chat.template import TURN_TOKENS, ChatTemplate, turns_template

    template = ChatTemplate(turns_template("<|endoftext|>"), ["<|endoftext|>", *TURN_TOKENS])
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What colour is snow?"},
        {"role": "assistant", "content": "white"},
    ]
    assert f"```\n{template.text(said)}\n```" in TEXT
