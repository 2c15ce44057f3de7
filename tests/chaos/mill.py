"""A process that has imported the whole mill once and forks another for every run that is to suffer something.

It answers requests, a JSON object a line (`tests.asked`). A request is an attempt to build something small:

    home, documents   where the store is, and the folder of `tests.tasks.tiny_corpus`
    scope             what is built (`tests.chaos.scopes`)
    workers, runner   of the resources
    faults            what `tests.chaos.faults.suffer` does in the process before it starts
    store             the URL of a shared store
    kill              {"signal", "stage", "after"}: sent so many seconds after that stage has begun (no stage: after the
                      start), to the process itself or, with "worker": true, to one of its pool, once there is one
    twins             how many more processes do the same at the same time; their answers are `twins`
    apart             they are machines: each with a name and a home of its own, `home`/machine-N; with `store`. The
                      first begins; the others come when the stage of `kill` is under way, if there is a kill

Its answer: `signal` or `exit` that ended it, `digests` by label, `states`, `seconds`, or `failed` in words; `landed`:
whether the kill came before the end; `left`: processes that outlived it.
"""

import faulthandler
import gc
import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from tasks.machine.arrow import start_arrow_threads
from tasks.machine.termination import exit_on_sigterm
from tasks.running import pool
from tests.chaos.faults import suffer
from tests.forked import adopt_orphans, end_with, left_over

PATIENCE = 280.0  # the first attempt in a new checkout compiles every kernel
ORPHAN_SECONDS = 240.0  # in which workers must have seen that their parent is gone; an orphan stays for ever
LEASE_SECONDS = 3.0  # of machines of which one is killed
NOT_COMPARED = ("report", "leaderboard", "scaling_table")  # they tell of seconds and memory
NOT_IMPORTED = ("prefect", "mlflow", "tests", "__main__", "pytest", "distributed", "dask")


def pipeline(request: dict[str, Any]) -> dict[str, Any]:
    """One attempt, in the forked process."""
    from tasks.running.progress import Display
    from tasks.running.run import Resources, pipeline_run
    from tasks.storage.shared import store_at
    from tests.chaos.scopes import build

    resources = Resources.model_validate(
        {"workers": request.get("workers", 1), "threads": 1, "runner": request.get("runner", "processes")}
    )
    store = store_at(Path(request["home"]) / "store", request.get("store"))
    shown = {"scope": request.get("scope", "all"), "documents": request["documents"]}
    with pipeline_run("tiny", shown, resources, store=store, display=Display(quiet=True), follow=False) as run:
        build(shown["scope"], Path(request["documents"]), int(request.get("count", 6)))
    return {
        "digests": {r.label: r.artifact.digest for r in run.records if r.stage not in NOT_COMPARED},
        "states": {r.label: r.state for r in run.records},
        "seconds": {r.label: r.seconds for r in run.records},
        "stages": {r.label: r.stage for r in run.records},
        "modules": imported(),
        "troubles": flaky.PLAN["troubles"] if (flaky := sys.modules.get("tests.chaos.flaky")) else 0,
    }


def attempt(request: dict[str, Any]) -> dict[str, Any]:
    """Fork, wait for the moment, kill if asked, and say how it ended."""
    first, *others = [_of_machine(request, number) for number in range(1 + request.get("twins", 0))]
    kill, store = request.get("kill"), Path(first["home"]) / "store"
    started = [_forked(first)]
    if kill and request.get("apart"):
        _wait_for(kill, store, psutil.Process(started[0][0]))
    started += [_forked(each) for each in others]
    landed = _kill(kill, store, started[0][0]) if kill else False
    found, *twins = [_ended(*child) for child in started]
    return {**found, "landed": landed, "twins": twins, "left": left_over(ORPHAN_SECONDS)}


def _of_machine(request: dict[str, Any], number: int) -> dict[str, Any]:
    """What the process of that number is asked."""
    if not request.get("apart"):
        return request
    name = f"machine-{number}"
    lease_seconds = LEASE_SECONDS if request.get("kill") else 60.0
    faults = {**request.get("faults", {}), "machine": {"name": name, "lease_seconds": lease_seconds}}
    return {**request, "home": str(Path(request["home"]) / name), "faults": faults}


def _forked(request: dict[str, Any]) -> tuple[int, Any]:
    answer = tempfile.TemporaryFile("w+")  # noqa: SIM115 closed by _ended
    child = os.fork()
    if child == 0:
        end_with(partial(_in_child, request, answer))
    return child, answer


def _ended(child: int, answer: Any) -> dict[str, Any]:
    """How a forked attempt ends, and what it says itself."""
    deadline = time.monotonic() + PATIENCE
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGABRT)  # upon which it says where it was, and what its threads did
            raise TimeoutError(f"an attempt did not end within {PATIENCE:.0f} s")
        time.sleep(0.002)
    status = ended[1]
    with answer:
        answer.seek(0)
        said = answer.read() or "{}"
    try:
        found = dict(json.loads(said))
    except json.JSONDecodeError:
        if status == 0:
            raise
        found = {}  # killed while it wrote its answer
    found["signal"] = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    found["exit"] = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
    return found


def _in_child(request: dict[str, Any], answer: Any) -> int:
    """The attempt, in the forked process. Returns its exit status."""
    status = 1
    try:
        os.dup2(2, 1)
        exit_on_sigterm()  # as flows/commands/start.py has it
        start_arrow_threads()  # as flows/running.py has it
        suffer(request.get("faults", {}))
        json.dump(pipeline(request), answer)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException as error:  # noqa: BLE001 the test is to say it
        json.dump({"failed": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}, answer)
    finally:
        pool.shut_down()
        answer.flush()
    return status


def _wait_for(kill: dict[str, Any], store: Path, process: psutil.Process) -> bool:
    """Until the stage of `kill` is under way, with a worker if one is to be killed. Returns False: it has ended."""
    stage, deadline = kill.get("stage"), time.monotonic() + PATIENCE

    def under_way() -> bool:
        return stage is None or next((store / "partial").glob(f"{stage}-*/_run/journal.jsonl"), None) is not None

    while not under_way() or (kill.get("worker") and not _workers(process)):
        if _has_ended(process) or time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def _has_ended(process: psutil.Process) -> bool:
    return process.status() == psutil.STATUS_ZOMBIE


def _kill(kill: dict[str, Any], store: Path, child: int) -> bool:
    """Send the signal at its moment. Returns whether the process was still there."""
    process = psutil.Process(child)
    if not _wait_for(kill, store, process):
        return False
    until = time.monotonic() + kill["after"]
    while time.monotonic() < until and not _has_ended(process):
        time.sleep(0.001)
    if _has_ended(process):
        return False
    if not kill.get("worker"):
        os.kill(child, kill["signal"])
        return True
    found = _workers(process)
    for worker in found[:1]:
        worker.send_signal(kill["signal"])
    return bool(found)


def _workers(process: psutil.Process) -> list[psutil.Process]:
    """Of its pool."""
    found = []
    for child in process.children():
        with suppress(psutil.NoSuchProcess):
            found += [child] if "spawn_main" in " ".join(child.cmdline()) else []
    return found


def main() -> None:
    """Serve until standard input ends. What the first whole attempt has imported is imported for all that follow."""
    adopt_orphans()
    faulthandler.enable()
    answers: Callable[[str], Any] = json.loads
    for line in sys.stdin:
        try:
            found = attempt(answers(line))
            _import(found.pop("modules", []))
        except Exception:  # noqa: BLE001 the test is to say it
            found = {"error": traceback.format_exc()}
        print(json.dumps(found), flush=True)
    os._exit(0)


def imported() -> list[str]:
    """The modules of this process, in the order in which they were begun.

    Not in that of the alphabet: CPython 3.11's `_asyncio` before `asyncio` is initialised twice, tasks enter themselves
    in the second table and `asyncio.current_task` looks into the first. All of S3 then fails with `Timeout should be
    used inside a task`.
    """
    return list(sys.modules)


def _import(names: list[str]) -> None:
    new = [name for name in names if name not in sys.modules and name.split(".")[0] not in NOT_IMPORTED]
    for name in new:
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 made while it ran, such as a library's lazy module
            continue
    if new:
        gc.freeze()  # a collection in a child would else touch, and so copy, all that is here


if __name__ == "__main__":
    main()
