"""Freed memory is kept: a tensor of the same size costs no new pages."""

import resource
import sys

import pytest
import torch

from lm.memory import keep_freed_memory
from tests.asked import Ask


def faults() -> int:
    """Pages that a few large tensors cost, one after the other."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.empty(12_000_000).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def before_and_after() -> tuple[int, bool, int]:
    """What they cost, whether freed memory could be kept, and what they cost then; for a process of its own."""
    given_back = faults()
    kept = keep_freed_memory()
    faults()
    return given_back, kept, faults()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone")
def test_freed_memory_is_used_again(fork_server: Ask) -> None:
    given_back, kept, after = fork_server(call=f"{__name__}:before_and_after", arguments=())["returned"]
    assert kept
    assert after * 10 < given_back
