"""SIGKILL at any moment, also inside the writing of a checkpoint, then resume: the same bits."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed_run.py")
RUNS = {
    "undisturbed": [],
    "between-steps": ["step:1", "step:8", "step:20"],
    # a checkpoint flushes its four files, its folder and the parent: between, after and before the rename
    "flushing": ["fsync:1", "fsync:5", "fsync:6", "fsync:9"],
    "renaming-and-pruning": ["replace:1", "replace:3", "remove:2", "remove:6"],
    # carried states, the average of the weights and the evaluations that began it are in the checkpoint
    "recurrent-undisturbed": [],
    "recurrent-ten-times": [f"step:{n}" for n in (2, 4, 5, 7, 10, 11, 13, 16, 17, 19)],
    "recurrent-writing": ["fsync:5", "replace:2", "remove:3"],
    "modern-undisturbed": [],
    "modern-ten-times": [f"step:{n}" for n in (2, 4, 5, 7, 10, 11, 13, 16, 17, 19)],
    "gpt1-undisturbed": [],
    "gpt1-killed": ["step:4", "fsync:5", "step:17"],
    "gpt3-undisturbed": [],
    "gpt3-killed": ["step:4", "fsync:5", "step:17"],
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[str, str]]]:
    root = tmp_path_factory.mktemp("killed")
    arguments = [f"{name}={','.join(moments)}" for name, moments in RUNS.items()]
    command = [sys.executable, str(SCRIPT), str(root), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    return root, {name: (signals, digest) for name, signals, digest in rows}


@pytest.mark.parametrize("name", RUNS)
def test_killed_and_resumed_ends_in_the_same_bits(ended: tuple[Path, dict[str, tuple[str, str]]], name: str) -> None:
    root, runs = ended
    signals, digest = runs[name]
    assert signals == ",".join([str(int(signal.SIGKILL))] * len(RUNS[name]) + ["0"])
    same = f"{name.partition('-')[0]}-undisturbed"
    assert digest == runs[same if same in runs else "undisturbed"][1]
    assert not list((root / name).glob(".tmp-*"))
    assert not list((root / name).glob("corrupt-*"))
