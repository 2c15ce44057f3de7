"""Freed memory is kept: a tensor of the same size costs no new pages."""

import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = """
import resource, torch
from lm.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.empty(12_000_000).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
given_back = faults()
print(keep_freed_memory())
faults()
print(given_back, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone")
def test_freed_memory_is_used_again() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", FAULTS], cwd=root, capture_output=True, text=True, check=True)
    kept, counts = done.stdout.splitlines()
    given_back, after = map(int, counts.split())
    assert kept == "True"
    assert after * 10 < given_back
