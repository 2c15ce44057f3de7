"""A further machine of a shared pretraining:  python -m lm.launch.join FOLDER  (the first one says which)."""

import signal
import sys
import threading
from pathlib import Path

from lm.launch.failure import failures
from lm.launch.job import JOB, read_job
from lm.launch.launch import run


def main(arguments: list[str]) -> int:
    """Run this machine's processes; they end with those of the first one. Returns an exit status."""
    if len(arguments) != 1 or not (Path(arguments[0]) / JOB).exists():
        print(f"usage: python -m lm.launch.join FOLDER  with a {JOB} in it, as the first machine says", file=sys.stderr)
        return 2
    job = read_job(Path(arguments[0]))
    if job.parallel.nodes == 1:
        print(f"{job.folder}: that training has one machine: nobody is waited for", file=sys.stderr)
        return 2
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    status = run(job, None, asked.is_set)
    if status != 0:
        first = next(iter(failures(job)), None)
        print(first["message"] if first else f"torchrun ended with status {status}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
