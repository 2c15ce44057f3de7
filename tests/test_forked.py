"""A process that a test forks ends where it is: it never comes back to its caller as a second one."""

import subprocess
import sys

import pytest

PROGRAM = """
import os
from tests.forked import adopt_orphans, end_with, left_over

def fail():
    raise {raised}

adopt_orphans()
child = os.fork()
if child == 0:
    end_with({function})
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), left_over(0.0))
"""


@pytest.mark.parametrize(
    ("function", "raised", "status"),
    [("fail", "MemoryError", 1), ("fail", "SystemExit(0)", 1), ("lambda: 3", "", 3)],
)
def test_a_forked_process_ends_whatever_is_raised(function: str, raised: str, status: int) -> None:
    program = PROGRAM.format(function=function, raised=raised)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"{status} []\n"
