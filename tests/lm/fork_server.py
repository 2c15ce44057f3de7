"""A process that has imported torch and the library once, and forks another for every run that is to be killed.

`main` reads requests, a JSON object a line, and answers each with another:

    {"attempt": KIND, "folder", "journal", "moment", "workers"} -> {"signal"}
    {"kind", "moments", "workers", "start"} -> {"signals", "model", "metrics", "journaled", "samples", "left", "broken"}
    {"call": "module:function", "arguments": [...]} -> {"signal", "returned"}

An attempt is a training of a kind (`tests.lm.killed_runs`) in `folder`, by a process of its own that kills itself with
SIGKILL at a moment, if one is given: `step:N`, after N updates or more, or `fsync:N`, `replace:N`, `remove:N`, at the
N-th such call of that process, all of which are made by writing and pruning checkpoints. The answer is what ended it.

The second form is an attempt for each moment and one to the end, with the numbers of `workers` in turn. Its answer:
what ended them; the SHA-256 of the model's folder; the metrics as the journal has them, [key, step, value] each; what
each attempt left in the journal, one text of whole lines each; the samples, [step, prompt, text]; processes that
outlived theirs, and files of broken-off writes. `start` is how data workers are started, in the last attempt always by
a fork. The third form is for what needs a process of its own, or one
without threads, where a fork is safe.
"""

import gc
import hashlib
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import cache, partial
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
import torch._dynamo

from lm.train import batches
from lm.train.hooks import Hooks
from tasks.running.journal import JOURNAL, Journal, read_events
from tests.forked import adopt_orphans, end_with, left_over
from tests.lm import killed_runs

PATIENCE = 240.0  # seconds in which workers must have seen that the process they work for is gone
SPEED = "tokens_per_second"


def kill_self(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at_call(owner: Any, name: str, call: int) -> None:
    """Replace `owner.name` by itself with a death before the `call`-th call."""
    original, calls = getattr(owner, name), iter(range(1, call))

    def counted(*arguments: Any, **options: Any) -> Any:
        if next(calls, None) is None:
            kill_self()
        return original(*arguments, **options)

    setattr(owner, name, counted)


def run(train: killed_runs.Train, folder: Path, notes: Path, moment: str | None, workers: int) -> None:
    """One attempt: notes are taken as the stages of a pipeline take them, in the journal of the folder `notes`."""
    last: float = float("inf")
    if moment:
        what, _, number = moment.partition(":")
        if what == "step":
            last = int(number)
        else:
            owner, name = {"fsync": (os, "fsync"), "replace": (os, "replace"), "remove": (shutil, "rmtree")}[what]
            kill_at_call(owner, name, int(number))
    journal = Journal(notes)

    def sample(step: int, prompt: str, text: str) -> None:
        with (folder / "samples.jsonl").open("a") as file:
            file.write(json.dumps([step, prompt, text]) + "\n")

    hooks = Hooks(
        on_metrics=lambda step, figures: journal.metrics({f"train/{k}": v for k, v in figures.items()}, step),
        on_evaluate=lambda step, figures: journal.metrics({f"valid/{k}": v for k, v in figures.items()}, step),
        on_sample=sample,
        on_progress=lambda step, _: kill_self() if step >= last else None,
    )
    train(folder, hooks, workers)


def in_child(function: Callable[[], Any]) -> tuple[int, Any]:
    """What ended a forked process that calls `function`, a signal or 0, and what it returned, as JSON has it.

    Raises RuntimeError if it failed by itself.
    """
    with tempfile.TemporaryFile("w+", dir=killed_runs.ROOT[0]) as answer:
        child = os.fork()
        if child == 0:
            end_with(partial(_answered, function, answer))
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return os.WTERMSIG(status), None
        if os.WEXITSTATUS(status):
            raise RuntimeError("failed; see standard error")
        answer.seek(0)
        return 0, json.load(answer)


def _answered(function: Callable[[], Any], answer: Any) -> int:
    try:
        json.dump(function(), answer)
        answer.flush()
    except BaseException:  # noqa: BLE001 standard error says what it was
        traceback.print_exc()
        return 1
    return 0


@cache
def prepared(kind: str) -> killed_runs.Train:
    train = killed_runs.KINDS[kind]()
    gc.freeze()  # a collection in a child would else touch, and so copy, all that is here
    return train


def killed(kind: str, moments: list[str], workers: list[int], start: str) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(dir=killed_runs.ROOT[0]))
    signals, left = [], []
    journaled = [""]
    for moment, number in zip((*moments, None), cycle(workers), strict=False):
        batches.START_METHOD = start if moment else "fork"
        signals.append(in_child(partial(run, prepared(kind), folder, folder, moment, number))[0])
        left += left_over(PATIENCE)
        whole = (folder / JOURNAL).read_text().rpartition("\n")
        journaled.append("".join(whole[:2])[sum(map(len, journaled)) :])
    model = hashlib.sha256()
    for path in sorted((folder / "model").rglob("*")):
        model.update(path.name.encode() + (path.read_bytes() if path.is_file() else b""))
    metrics = [
        [event["key"], event["step"], event["value"]]
        for _, event in read_events(folder / JOURNAL)
        if event["event"] == "metric" and SPEED not in event["key"]
    ]
    lines = folder / "samples.jsonl"
    samples = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    broken = [str(path) for pattern in (".tmp-*", "corrupt-*") for path in folder.rglob(pattern)]
    shutil.rmtree(folder)
    return {
        "signals": signals,
        "model": model.hexdigest(),
        "metrics": metrics,
        "journaled": journaled[1:],
        "samples": samples,
        "left": left,
        "broken": broken,
    }


def answer(request: dict[str, Any]) -> dict[str, Any]:
    batches.START_METHOD = "fork"  # no threads here, and torch need not be imported again
    if "call" in request:
        module, _, name = request["call"].partition(":")
        function = getattr(importlib.import_module(module), name)
        signal_, returned = in_child(partial(function, *request["arguments"]))
        return {"signal": signal_, "returned": returned}
    if "attempt" in request:
        folder, notes = Path(request["folder"]), Path(request["journal"])
        folder.mkdir(exist_ok=True)
        train = prepared(request["attempt"])
        return {"signal": in_child(partial(run, train, folder, notes, request["moment"], request["workers"]))[0]}
    return killed(request["kind"], request["moments"], request["workers"], request["start"])


def main() -> None:
    """Serve until standard input ends; sys.argv[1] is a folder for what is written."""
    adopt_orphans()
    torch.set_num_threads(1)
    killed_runs.ROOT.append(Path(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            found = answer(request)
        except Exception:  # noqa: BLE001 the test is to say it
            found = {"error": traceback.format_exc()}
        print(json.dumps(found), flush=True)
    os._exit(0)  # nothing is left to be tidied up
