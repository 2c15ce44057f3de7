"""A small instruction tuning for test_chat_kill.py: `python killed_chat.py ROOT NAME=MOMENT,MOMENT,... ...`.

As killed_run.py: for each NAME the run in ROOT/NAME is started once per MOMENT in a process of its own that kills
itself at that moment, and then once more to the end. A NAME begins with the kind of its model. Prints `NAME SIGNALS
SHA256` of the model that is handed back, and of its answers.
"""

import hashlib
import os
import sys
from pathlib import Path

import torch
import torch._dynamo  # the first optimiser imports it: once here, not in every child
from tests.lm.killed_run import in_child, kill_at_call, kill_self

from lm.chat.config import ChatConfig
from lm.chat.train import instruct
from lm.train.hooks import Hooks
from tests.lm import killed_run
from tests.lm.chat_cases import backbone_folder, chat_set, train_config

KINDS = ("gpt", "modern")


def train(directory: Path, kill_at: str | None) -> None:
    root, kind = directory.parent, directory.name.partition("-")[0]
    if kill_at and kill_at.startswith("fsync:"):
        kill_at_call(os, "fsync", int(kill_at.removeprefix("fsync:")))
    hooks = Hooks(on_progress=lambda step, _: kill_self() if kill_at == f"step:{step}" else None)
    settings = ChatConfig(dropout=0.2, answers=2, answer_tokens=4, samples=0)
    config = train_config()
    instruct(root / "set", root / kind, settings, config, directory / "checkpoints", directory, hooks=hooks)


def main(root: Path, runs: list[str]) -> None:
    torch.set_num_threads(1)
    killed_run.train = train
    chat_set(root / "set")
    for kind in KINDS:
        backbone_folder(root / kind, kind)
    for run in runs:
        name, _, moments = run.partition("=")
        signals = [in_child(root / name, moment) for moment in moments.split(",") if moment]
        signals.append(in_child(root / name, None))
        files = ("model.safetensors", "tokenizer.json", "tokenizer_config.json", "answers.jsonl")
        content = b"".join((root / name / file).read_bytes() for file in files)
        print(name, ",".join(map(str, signals)), hashlib.sha256(content).hexdigest(), flush=True)


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a fork after threads of the tokenizer's would wait for them
    main(Path(sys.argv[1]), sys.argv[2:])
