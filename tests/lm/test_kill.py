"""SIGKILL at any moment, also inside the writing of a checkpoint, then resume: the same bits."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed_run.py")
RUNS = {
    "gpt-undisturbed": [],
    "gpt-between-steps": ["step:1", "step:8", "step:20"],
    # a checkpoint flushes its four files, its folder and the parent: between, after and before the rename
    "gpt-flushing": ["fsync:1", "fsync:5", "fsync:6", "fsync:9"],
    "gpt-renaming-and-pruning": ["replace:1", "replace:3", "remove:2", "remove:6"],
    # carried states, the average of the weights and the evaluations that began it are in the checkpoint
    "recurrent-undisturbed": [],
    "recurrent-ten-times": [f"step:{n}" for n in (2, 4, 5, 7, 10, 11, 13, 16, 17, 19)],
    "recurrent-writing": ["fsync:5", "replace:2", "remove:3"],
    "nnlm-undisturbed": [],
    "nnlm-ten-times": [f"step:{n}" for n in (1, 3, 6, 8, 9, 12, 14, 15, 18, 20)],
    "elmo-undisturbed": [],
    "elmo-ten-times": [f"step:{n}" for n in (2, 3, 5, 7, 9, 11, 12, 15, 16, 19)],
    # the memory of each layer is in the checkpoint
    "xl-undisturbed": [],
    "xl-ten-times": [f"step:{n}" for n in (1, 3, 4, 7, 8, 11, 12, 14, 18, 19)],
    # orders follow from the number of the example: epochs of 23 end in the middle of steps
    "xlnet-undisturbed": [],
    "xlnet-ten-times": [f"step:{n}" for n in (2, 3, 5, 6, 9, 10, 13, 15, 17, 20)],
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
    assert digest == runs[f"{name.partition('-')[0]}-undisturbed"][1]
    assert not list((root / name).glob(".tmp-*"))
    assert not list((root / name).glob("corrupt-*"))
