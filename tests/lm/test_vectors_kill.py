"""SIGKILL at any moment of training word vectors, then resume: the same bits, the same reports."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed_vectors.py")
TEN_TIMES = [f"step:{n}" for n in (1, 3, 4, 7, 9, 10, 14, 20, 22, 27)]
RUNS = {
    "word2vec-undisturbed": [],
    "word2vec-ten-times": TEN_TIMES,
    "word2vec-writing": ["fsync:3", "fsync:6", "fsync:7", "replace:1", "replace:2", "remove:2"],
    "glove-undisturbed": [],
    "glove-ten-times": TEN_TIMES,
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    root = tmp_path_factory.mktemp("killed")
    arguments = [f"{name}={','.join(moments)}" for name, moments in RUNS.items()]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(root), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name: (signals, digest) for name, signals, digest in map(str.split, done.stdout.splitlines())}


@pytest.mark.parametrize("name", RUNS)
def test_killed_and_resumed_ends_in_the_same_bits(ended: dict[str, tuple[str, str]], name: str) -> None:
    signals, digest = ended[name]
    assert signals == ",".join([str(int(signal.SIGKILL))] * len(RUNS[name]) + ["0"])
    assert digest == ended[f"{name.partition('-')[0]}-undisturbed"][1]
