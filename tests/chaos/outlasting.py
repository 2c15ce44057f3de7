"""Flow runs that outlast an outage of their server: `python -m tests.chaos.outlasting missed|leased`.

On the server of the environment. When the file READY is there, the test makes the file GONE, ends the server, starts it
again, and makes the file BACK.

    missed   beats come every second, and count as missed after ten, the least that Prefect allows. Beside the flow run
             are two that nobody works on, one of ours and one of others. It goes on, for `PATIENCE` seconds at most,
             until the server has seen that ours is dead, and was told by this one that it lives. After the outage its
             beats come only when the server has set it to `Crashed`: some would reach the server before it counts.
    leased   a run of a deployment with one place, whose lease is renewed every four seconds, but not while the server
             is away. It goes on until the server is back and the lease was renewed. From then on its beats are counted,
             and it asks for approval: the server waits for the next beat until it hears that the run is suspended.

Prints a JSON object on a line.
"""

import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from tasks.machine.home import configure_environment

configure_environment()

import httpx  # noqa: E402
from prefect import flow, flow_engine, runtime, tags  # noqa: E402
from prefect.client.orchestration import SyncPrefectClient, get_client  # noqa: E402
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.concurrency import _leases  # noqa: E402
from prefect.events.clients import PrefectEventsClient  # noqa: E402
from prefect.exceptions import Pause  # noqa: E402
from prefect.states import Pending, Running  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from flows.running import prefect_run  # noqa: E402
from flows.servers import alive, automations  # noqa: E402
from flows.servers.approval import approved  # noqa: E402
from tasks.running.run import Resources, Run  # noqa: E402
from tests.tasks.stages import NumbersConfig, numbers  # noqa: E402

PATIENCE = 600.0
BEAT = 1
READY, GONE, BACK = (Path(os.environ[name]) for name in ("READY", "GONE", "BACK"))

flow_engine.MINIMUM_HEARTBEAT_INTERVAL = BEAT
flow_engine.FlowRunEngine.heartbeat_seconds = property(lambda self: BEAT)  # type: ignore[assignment]
_leases._RENEWAL_FRACTION = 4 / 300
alive.CHECK_SECONDS = 1.0
automations.heartbeat_within = lambda: timedelta(seconds=10)


counted, renewed = threading.Event(), threading.Event()


class OutlastingConfig(BaseModel):
    """How it runs."""

    resources: Resources = Resources(workers=1, threads=1)


@flow(name="outlasting")
def outlasting(config: OutlastingConfig) -> list[UUID]:
    """One tiny stage, and then until the server has been away; the ids of this flow run and of two silent ones."""
    Run.announce = lambda self, stage, key: None  # type: ignore[method-assign]  # no MLflow here
    living = UUID(runtime.flow_run.id)
    with prefect_run("outlasting", config):
        numbers(NumbersConfig(count=3))
        with get_client(sync_client=True) as client:
            dead, others = silent(client)
        wait_for(lambda: watched(living))
        READY.touch()
        wait_for(lambda: seen(living, dead))
    return [living, dead, others]


def silent(client: SyncPrefectClient) -> tuple[UUID, UUID]:
    """Flow runs that nobody works on: one of ours, which the server watches, and one of others."""
    others = client.create_flow_run(outlasting, tags=[], state=Running()).id
    while True:
        ours = client.create_flow_run(outlasting, tags=[automations.TAG], state=Running()).id
        if wait_for(partial(watched, ours), seconds=3):  # else its triggers had not heard of the automations
            return ours, others


def watched(run: UUID) -> bool:
    """Whether the server waits for something of this run; only its database says so."""
    path = Path(os.environ["PREFECT_HOME"]) / "prefect.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        found = database.execute("select bucketing_key from automation_bucket").fetchall()
    return any(str(run) in key for (key,) in found)


def seen(living: UUID, dead: UUID) -> bool:
    """Whether the dead one is known as such, and this one has said since that it runs."""
    if not GONE.exists():
        return False
    try:
        with get_client(sync_client=True) as client:
            states = _states(client, living)
            if any(state.name == "Crashed" and state.timestamp.timestamp() > GONE.stat().st_mtime for state in states):
                counted.set()
            return _names(client, dead)[-1] == "Crashed" and _names(client, living)[-2:] == ["Crashed", "Running"]
    except httpx.HTTPError:
        return False


def beat_late() -> None:
    """Once connected, the events of this process find no other connection before the server has counted."""
    reconnect, connected = PrefectEventsClient._reconnect, False

    async def reconnect_late(self: PrefectEventsClient) -> None:
        nonlocal connected
        if connected and GONE.exists() and not counted.is_set():
            raise ConnectionRefusedError("its server counts first")
        connected = True
        await reconnect(self)

    PrefectEventsClient._reconnect = reconnect_late  # type: ignore[method-assign]


def missed() -> dict[str, Any]:
    """The states of each flow run, the message of the dead one's last, and the log of the one that lives."""
    beat_late()
    automations.install_automations()
    with tags(automations.TAG):
        living, dead, others = outlasting(OutlastingConfig())
    with get_client(sync_client=True) as client:

        def logged() -> list[str]:
            lines = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[living])))
            return [line.message for line in lines if line.name == "textmill.alive"]

        wait_for(lambda: bool(logged()))  # what is logged is sent in batches
        return {
            "living": _names(client, living),
            "counted": counted.is_set(),
            "dead": _names(client, dead),
            "said": _states(client, dead)[-1].message,
            "others": _names(client, others),
            "log": logged(),
        }


def renew_when_back() -> None:
    """Renewals wait while the server is away: Prefect tries three times, and a start may take longer."""
    renew = _leases._renew_concurrency_lease_with_retries

    def renewal(client: SyncPrefectClient, lease: UUID, seconds: float, stop: threading.Event) -> bool:
        while True:
            while GONE.exists() and not BACK.exists() and not stop.wait(0.2):
                pass
            back = BACK.exists()
            try:
                done = renew(client, lease, seconds, stop)
            except Exception:
                if GONE.exists() and not back:  # it had begun before
                    continue
                raise
            if back and done:
                renewed.set()
            return done

    _leases._renew_concurrency_lease_with_retries = renewal


@flow(name="leased")
def leased(deployment: UUID) -> int:
    """How many places of the deployment are taken when the server is back and the lease was renewed; asks, too."""
    READY.touch()
    wait_for(renewed.is_set)
    automations.install_automations()
    wait_for(lambda: watched(UUID(runtime.flow_run.id)))
    with get_client(sync_client=True) as client:
        taken = _taken(client, deployment)
    approved("May it?", timeout_hours=1)
    return taken


def deployed() -> dict[str, Any]:
    """The states of the run, whether its lease was renewed, and how many places were taken before and after its end."""
    renew_when_back()
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(
            client.create_flow(leased), name="leased", concurrency_limit=1, tags=[automations.TAG]
        )
        run = client.create_flow_run_from_deployment(deployment)
    with suppress(Pause):
        taken_by_worker(run.id, deployment)
    wait_for(lambda: not watched(run.id))  # for its next beat, which never comes
    with get_client(sync_client=True) as client:
        wait_for(lambda: _names(client, run.id)[-1] == "Crashed", seconds=2)
        asked = _names(client, run.id)
        if asked[-1] != "Suspended":
            return {"asked": asked}
        client.resume_flow_run(run.id, run_input={"approve": True})
    taken = taken_by_worker(run.id, deployment)
    with get_client(sync_client=True) as client:
        states, left = _names(client, run.id), _taken(client, deployment)
    return {"asked": asked, "states": states, "renewed": renewed.is_set(), "taken": taken, "left": left}


def taken_by_worker(run: UUID, deployment: UUID) -> Any:
    """What the flow of a deployment's run returns."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Pending())  # as a worker does: the place is taken
        flow_run = client.read_flow_run(run)
    return flow_engine.run_flow(leased, flow_run=flow_run, parameters={"deployment": deployment})


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether it holds in the end."""
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return holds


def _taken(client: SyncPrefectClient, deployment: UUID) -> int:
    limit = client.read_deployment(deployment).global_concurrency_limit
    assert limit is not None
    return limit.active_slots


def _names(client: SyncPrefectClient, run: UUID) -> list[str]:
    """The names of the states that a flow run has had, the first one first."""
    return [state.name or "" for state in _states(client, run)]


def _states(client: SyncPrefectClient, run: UUID) -> list[State[Any]]:
    return sorted(client.read_flow_run_states(run), key=lambda state: state.timestamp)


if __name__ == "__main__":
    print(json.dumps(missed() if sys.argv[1] == "missed" else deployed()))
