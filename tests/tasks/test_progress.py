"""What a run says on the terminal."""

import os
import subprocess
import sys

WRITES_ON = """
from tasks.running.progress import Display
display = Display()
for n in range(3):
    display.line(f"line {n}")
print("done")
"""


def test_a_run_goes_on_when_nobody_reads_it_any_more() -> None:
    """`textmill pretrain ... 2>&1 | head -1`, or a worker that was killed."""
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run([sys.executable, "-c", WRITES_ON], stdout=subprocess.PIPE, stderr=writes, text=True)
    os.close(writes)
    assert (done.returncode, done.stdout) == (0, "done\n")
