"""A Prefect flow that tests kill: `python -m tests.tasks.flow_driver run|lose|reconcile [TASKS]`.

TASKS: how many a flow run that is over has at the least; an outage may have swallowed some for ever.
"""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.machine.home import configure_environment

configure_environment()

from prefect import flow, runtime, task  # noqa: E402
from prefect.client.orchestration import get_client  # noqa: E402
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId  # noqa: E402
from prefect.states import Completed, Crashed, Failed, Pending, Running  # noqa: E402

from tasks.running.progress import Display  # noqa: E402
from tasks.running.reconcile import SILENT, reconcile_dead_runs  # noqa: E402
from tasks.running.run import Resources, Run, pipeline_run  # noqa: E402
from tasks.store import Store  # noqa: E402
from tests.settled import settled  # noqa: E402
from tests.tasks.stages import NumbersConfig, numbers, slow  # noqa: E402


def open_store() -> Store:
    """The store of the test (TEXTMILL_HOME is the Prefect server's)."""
    return Store(Path(os.environ["STORE"]))


@flow(name="tiny")
def tiny() -> None:
    """Two stages, of which the second takes SLOW_SECONDS."""
    Run.announce = lambda self, stage, key: None  # type: ignore[method-assign]  # no MLflow here
    flow_run_id = str(runtime.flow_run.id)
    with pipeline_run(
        "tiny",
        {},
        Resources(workers=1, threads=1),
        store=open_store(),
        display=Display(quiet=True),
        flow_run_id=flow_run_id,
    ):
        numbers(NumbersConfig())
        slow(NumbersConfig())


def lose() -> None:
    """Runs that end here, well and badly in turn. Of the first two the server hears the end of the flow run, the next
    two it takes for dead, of the next two it hears nothing; the last two run again since then, as after an approval. It
    hears of no task's end.
    """
    silent = Crashed(message=f"{SILENT}90 s")
    heard = ((Completed(), Completed()), (Failed(), Failed()))
    unheard = ((Completed(), silent), (Failed(), silent), (Completed(), Running()), (Failed(), Running()))
    again = ((Completed(), Running(name="Again")), (Failed(), Running(name="Again")))
    for ended, known in heard + unheard + again:
        with get_client(sync_client=True) as client:
            flow_run = client.create_flow_run(tiny, state=Running())
            for key, state in (("begun", Running()), ("taken", Pending())):
                client.create_task_run(task(lambda: None), flow_run.id, key, name=key, state=state)
            with (
                suppress(ValueError),
                pipeline_run(
                    "tiny",
                    {"ended": ended.name, "known": known.name},
                    Resources(workers=1, threads=1),
                    store=open_store(),
                    display=Display(quiet=True),
                    flow_run_id=str(flow_run.id),
                    follow=False,
                ),
            ):
                if ended.is_failed():
                    raise ValueError("the stage went wrong")
            if known.name != "Running":  # it has been that since it began
                client.set_flow_run_state(flow_run.id, known, force=True)


def states(least: int) -> list[dict[str, Any]]:
    """The states of every flow run on record and of its task runs, when these are over too; what is said of those."""
    found = []
    with get_client(sync_client=True) as client:
        for record in sorted(open_store().runs.glob("*/run.json")):
            for flow_run_id in json.loads(record.read_text())["flow_runs"]:
                only = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))

                def tasks(only: FlowRunFilter = only) -> dict[str, str]:
                    return {run.name: str(run.state_name) for run in client.read_task_runs(flow_run_filter=only)}

                flow_run = client.read_flow_run(flow_run_id)
                over = flow_run.state is not None and flow_run.state.is_final()
                of_tasks = settled(tasks, least) if over else tasks()
                messages = [run.state.message for run in client.read_task_runs(flow_run_filter=only) if run.state]
                said = sorted({message or "" for message in messages})
                found.append({"flow": flow_run.state_name, "tasks": of_tasks, "said": said})
    return found


if __name__ == "__main__":
    if sys.argv[1] == "run":
        tiny()
    elif sys.argv[1] == "lose":
        lose()
    else:
        tokens = reconcile_dead_runs(open_store())
        print(json.dumps({"tokens": tokens, "states": states(int(sys.argv[2]) if len(sys.argv) > 2 else 0)}))
