"""Instruction tuning killed at any moment and started again ends in the same bits."""

import os
import signal
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("killed_chat.py")
RUNS = {
    "gpt-undisturbed": [],
    "gpt-killed": ["step:1", "fsync:5", "step:11"],
    "modern-undisturbed": [],
    "modern-killed": ["step:10"],
}


def test_killed_and_resumed_ends_in_the_same_bits(tmp_path: Path) -> None:
    arguments = [f"{name}={','.join(moments)}" for name, moments in RUNS.items()]
    command = [sys.executable, str(SCRIPT), str(tmp_path), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {name: (signals, digest) for name, signals, digest in map(str.split, done.stdout.splitlines())}
    for name, moments in RUNS.items():
        signals, digest = found[name]
        assert signals == ",".join([str(int(signal.SIGKILL))] * len(moments) + ["0"])
        assert digest == found[f"{name.partition('-')[0]}-undisturbed"][1]
        assert not list((tmp_path / name).glob(".tmp-*"))
    assert found["gpt-killed"][1] != found["modern-killed"][1]
