"""A process that runs tiny stages, for tests that kill it: `python -m tests.tasks.driver ACTION`.

Environment: TEXTMILL_HOME, STAGE_CALLS (log of calls), WORKERS, COUNT, DIE_AT ("rename:STAGE" or "manifest:STAGE":
SIGKILL instead of that rename), RAISE_ON_TERM (a SIGTERM handler that raises, as Prefect's does).
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Artifact, Store
from tests.tasks.stages import NumbersConfig, numbers, patient, slow, squares, total


class Terminated(BaseException):
    """What the handler of SIGTERM raises, like Prefect's TerminationSignal."""


def chain(config: NumbersConfig) -> list[Artifact]:
    """Numbers, their squares in a pool, and the sum."""
    source = numbers(config)
    squared = squares(config, source=source)
    return [source, squared, total(config, source=squared)]


ACTIONS = {
    "chain": chain,
    "slow": lambda config: [slow(config)],
    "patient": lambda config: [patient(config)],
}


def main() -> None:
    """Run one action and print digests and states."""
    # as in a terminal: a test run in the background of a shell inherits an ignored Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "RAISE_ON_TERM" in os.environ:
        signal.signal(signal.SIGTERM, _raise)
    _die_at(os.environ.get("DIE_AT", ""))
    resources = Resources(workers=int(os.environ.get("WORKERS", "2")), threads=1)
    run = Run(Store(Path(os.environ["TEXTMILL_HOME"]) / "store"), resources, Display(quiet=True))
    with use_run(run):
        artifacts = ACTIONS[sys.argv[1]](NumbersConfig(count=int(os.environ.get("COUNT", "4"))))
    states = {record.stage: record.state for record in run.records}
    print(json.dumps({"digests": [artifact.digest for artifact in artifacts], "states": states}))


def _raise(number: int, frame: object) -> None:
    raise Terminated


def _die_at(moment: str) -> None:
    kind, _, stage = moment.partition(":")
    if kind == "rename":
        _replace("rename", f"/artifacts/{stage}/")
    elif kind == "manifest":
        _replace("replace", f"/partial/{stage}-", "manifest.json")


def _replace(function: str, *marks: str) -> None:
    original = getattr(os, function)

    def deadly(source: Any, target: Any) -> None:
        if all(mark in str(target) for mark in marks):
            os.kill(os.getpid(), signal.SIGKILL)
        original(source, target)

    setattr(os, function, deadly)


if __name__ == "__main__":
    main()
