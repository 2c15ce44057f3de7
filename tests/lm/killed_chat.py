"""A small instruction tuning that the fork server makes for test_chat_kill.py, killed at a moment."""

import os
from pathlib import Path

from lm.chat.config import ChatConfig
from lm.chat.train import instruct
from lm.train.hooks import Hooks
from tests.lm.chat_cases import train_config
from tests.lm.fork_server import kill_at_call, kill_self


def train(data: str, backbone: str, folder: str, moment: str) -> None:
    """`moment`: `step:N`, `fsync:N`, or empty for a run to the end."""
    what, _, number = moment.partition(":")
    if what == "fsync":
        kill_at_call(os, "fsync", int(number))
    hooks = Hooks(on_progress=lambda step, _: kill_self() if what == "step" and step == int(number) else None)
    settings, out = ChatConfig(dropout=0.2, answers=2, answer_tokens=4, samples=0), Path(folder)
    instruct(Path(data), Path(backbone), settings, train_config(), out / "checkpoints", out, hooks=hooks)
