"""What a run says on the terminal."""

import os
import subprocess
import sys

import pytest

DISPLAY = """
from tasks.running.progress import Display
display = Display()
say = display.line
"""
LOG = """
import logging
from prefect.logging.handlers import PrefectConsoleHandler
from flows.running import outlive_readers
log = logging.getLogger("prefect.flow_runs")
log.addHandler(PrefectConsoleHandler())
outlive_readers()
say = log.warning
"""


@pytest.mark.parametrize("says", [DISPLAY, LOG], ids=["progress", "log"])
def test_a_run_goes_on_when_nobody_reads_it_any_more(says: str) -> None:
    """`textmill pretrain ... 2>&1 | head -1`, or a worker that was killed."""
    reads, writes = os.pipe()
    os.close(reads)
    code = says + "for n in range(3): say(f'line {n}')\nprint('done')"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writes, text=True)
    os.close(writes)
    assert (done.returncode, done.stdout) == (0, "done\n")
