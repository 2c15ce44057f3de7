"""A small training of word vectors for test_vectors_kill.py: `python killed_vectors.py ROOT NAME=MOMENT,... ...`.

As killed_run.py, for word2vec and GloVe (a NAME says which by its beginning). Prints `NAME SIGNALS SHA256` for each:
what ended the processes, and the final vectors with all that was reported on the way, each step once.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lm.vectors.glove
import lm.vectors.word2vec
from lm.train.hooks import Hooks
from lm.vectors.config import parse_vectors_config
from lm.vectors.train import train_vectors
from tests.lm.killed_run import kill_at_call, kill_self

SETTINGS: dict[str, dict[str, Any]] = {
    "word2vec": {"dimensions": 8, "epochs": 3, "min_count": 1},
    "glove": {"dimensions": 8, "epochs": 3, "min_count": 1, "window": 4, "x_max": 5.0},
}


def lines() -> list[str]:
    random = np.random.default_rng(0)
    return [" ".join(f"w{word}" for word in random.zipf(1.3, 20) if word < 200) for _ in range(120)]


def train(directory: Path, kill_at: str | None) -> None:
    """Ten chunks an epoch; what is reported goes to a file as a tracker would have it, a step replacing itself."""
    kind = directory.name.partition("-")[0]
    reported = directory / "reported.json"
    rows = json.loads(reported.read_text()) if reported.exists() else {}

    def on_metrics(step: int, figures: dict[str, float]) -> None:
        rows[str(step)] = {name: figures[name] for name in ("loss", "learning_rate", "tokens")}
        reported.write_text(json.dumps(rows))

    def on_progress(step: int, steps: int) -> None:
        if kill_at == f"step:{step}":
            kill_self()

    if kill_at and not kill_at.startswith("step"):
        what, _, number = kill_at.partition(":")
        owner, name = {"fsync": (os, "fsync"), "replace": (os, "replace"), "remove": (shutil, "rmtree")}[what]
        kill_at_call(owner, name, int(number))
    directory.mkdir(exist_ok=True)
    train_vectors(
        lines(),
        None,
        parse_vectors_config({"kind": kind, **SETTINGS[kind]}),
        directory / "scratch",
        directory / "model",
        checkpoint_seconds=0,
        checkpoint_interval=4,
        hooks=Hooks(on_metrics=on_metrics, on_progress=on_progress),
    )


def in_child(directory: Path, kill_at: str | None) -> int:
    """Train in a forked process; the signal that ended it, 0 if none."""
    child = os.fork()
    if child == 0:
        train(directory, kill_at)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{directory.name} {kill_at}: failed")
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def main(root: Path, runs: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lm.vectors.word2vec, "CHUNK_WORDS", 200)
        patch.setattr(lm.vectors.glove, "CHUNK_RECORDS", 300)
        with tempfile.TemporaryDirectory() as warm:
            for kind in SETTINGS:  # the kernels are loaded once, not in every child
                train(Path(warm) / kind, None)
        for run in runs:
            name, _, moments = run.partition("=")
            directory = root / name
            signals = [in_child(directory, moment) for moment in moments.split(",") if moment]
            signals.append(in_child(directory, None))
            content = (directory / "model/vectors.safetensors").read_bytes()
            content += (directory / "reported.json").read_bytes()
            print(name, ",".join(map(str, signals)), hashlib.sha256(content).hexdigest(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
