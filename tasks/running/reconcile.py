"""Put right what dead processes left: runs that still say `Running` in Prefect and in our own records."""

import logging
from typing import Any
from uuid import UUID

from tasks.running.run_records import dead_runs, mark_dead, mark_told, run_records, untold_runs
from tasks.store import Store

logger = logging.getLogger("textmill.reconcile")

UNTOLD = "it ended while this server was away"
MESSAGE = "its process died; run it again and it goes on where it stopped"
SILENT = "No heartbeat for "
"""So begins the message of a run that the server takes for dead (flows/servers/automations.py)."""


def reconcile_dead_runs(store: Store, current_flow_run: str | None = None) -> list[str]:
    """Set the Prefect flow and task runs of dead pipeline runs to `Crashed`. Returns the runs' tokens.

    The flow run of a killed process stays `Running` for ever in the UI (the heartbeat automation helps only where a
    server watches), and its task runs do even when the flow run is put right. A run is dead when the process that
    our record names is gone: process id and creation time, so that a reused id is not mistaken. A run that ended while
    the server was away may still say `Running` there as well, or that it has crashed although it has ended well: each
    is looked up once after its end.

    Args:
        current_flow_run: the flow run that this process executes. When a dead run is retried in the UI it has the same
            id: then only the task runs of the first attempt are put right.
    """
    records = run_records(store)
    dead, untold = dead_runs(records), untold_runs(records)
    if not dead and not untold:
        return []
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for record in dead:
            for flow_run_id in record["flow_runs"]:
                current = flow_run_id == current_flow_run
                _end(client, UUID(flow_run_id), died=True, finished=False, tasks_only=current, ended=None)
            mark_dead(store, record["token"])
            logger.info("run %s had died and is marked as crashed", record["token"])
        for record in untold:
            for flow_run_id in record["flow_runs"]:
                finished = record["state"] == "finished" and flow_run_id == record["flow_runs"][-1]
                if flow_run_id != current_flow_run:
                    _end(client, UUID(flow_run_id), False, finished, tasks_only=False, ended=record.get("ended"))
            mark_told(store, record)
    return [record["token"] for record in dead]


def _end(client: object, flow_run_id: UUID, died: bool, finished: bool, tasks_only: bool, ended: float | None) -> None:
    """Put right what is not final of a flow run whose process is gone, and of its tasks.

    Args:
        ended: when that process ended by itself. A flow run that says `Running` since then has another one: somebody
            has approved what it waited for, or has it tried again.
    """
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, TaskRunFilter
    from prefect.client.schemas.objects import TERMINAL_STATES, State, StateType
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Completed, Crashed

    assert isinstance(client, SyncPrefectClient)
    try:
        flow_run = client.read_flow_run(flow_run_id)
    except ObjectNotFound:
        return  # the Prefect database was replaced since

    now = flow_run.state
    if ended is not None and now is not None and now.is_running() and now.timestamp.timestamp() > ended:
        return
    over = now is not None and now.is_final()
    # one that ended by itself may wait for an approval or for its next attempt, and is left to that
    unended = now is not None and (not over if died else now.is_running() or now.is_cancelling())
    mistaken = finished and now is not None and now.is_crashed() and (now.message or "").startswith(SILENT)

    end: State[Any] = Completed(message=UNTOLD) if finished else Crashed(message=MESSAGE if died else UNTOLD)
    # the server hears of a task by events, which an outage swallows: whatever it heard last, a task ends with its run
    if died or over or unended:
        unfinished = TaskRunFilter.model_validate({"state": {"type": {"any_": set(StateType) - TERMINAL_STATES}}})
        of_the_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
        for task_run in client.read_task_runs(flow_run_filter=of_the_run, task_run_filter=unfinished):
            client.set_task_run_state(task_run.id, end, force=True)
    if not tasks_only and (unended or mistaken):
        client.set_flow_run_state(flow_run_id, end, force=True)
