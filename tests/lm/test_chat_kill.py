"""Instruction tuning killed at any moment and started again ends in the same bits."""

import signal
from pathlib import Path

import pytest

from tests.asked import Ask
from tests.lm.chat_cases import backbone_folder, chat_set

FILES = ("model.safetensors", "tokenizer.json", "tokenizer_config.json", "answers.jsonl")


@pytest.mark.parametrize(("kind", "moments"), [("gpt", ["step:1", "fsync:5", "step:11"]), ("modern", ["step:10"])])
def test_killed_and_resumed_ends_in_the_same_bits(
    kind: str, moments: list[str], tmp_path: Path, fork_server: Ask
) -> None:
    given = [str(chat_set(tmp_path / "set")), str(backbone_folder(tmp_path / "model", kind))]

    def ended(name: str, moment: str = "") -> int:
        (tmp_path / name).mkdir(exist_ok=True)
        answer = fork_server(call="tests.lm.killed_chat:train", arguments=[*given, str(tmp_path / name), moment])
        return int(answer["signal"])

    assert [ended("killed", moment) for moment in moments] == [signal.SIGKILL] * len(moments)
    assert [ended("killed"), ended("whole")] == [0, 0]
    for name in FILES:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert not list((tmp_path / "killed").glob(".tmp-*"))
