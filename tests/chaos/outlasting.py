"""Flow runs that outlast an outage of their server: `python -m tests.chaos.outlasting missed|leased`.

On the server of the environment, which the test ends and starts again:

    missed   beats come every second, and count as missed after ten, the least that Prefect allows. Beside the flow run
             are two that nobody works on, one of ours and one of others. It goes on, for `PATIENCE` seconds at most,
             until the server has seen that ours is dead, and was told by this one that it lives. After the outage its
             beats come only when the file BACK is there: some would reach the server before it counts.
    leased   a run of a deployment with one place, whose lease is renewed every four seconds. It goes on until the
             server is back (the file BACK is there) and the lease was renewed.

Prints a JSON object on a line.
"""

import json
import os
import sys
import time
from datetime import timedelta
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
from prefect.states import Pending, Running  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from flows.running import prefect_run  # noqa: E402
from flows.servers import alive, automations  # noqa: E402
from tasks.running.run import Resources, Run  # noqa: E402
from tests.tasks.stages import NumbersConfig, numbers  # noqa: E402

PATIENCE = 90.0
BEAT = 1
RENEWED = 12.0
"""Seconds in which a lease that is renewed every four was renewed, or was given up after three attempts."""

flow_engine.MINIMUM_HEARTBEAT_INTERVAL = BEAT
flow_engine.FlowRunEngine.heartbeat_seconds = property(lambda self: BEAT)  # type: ignore[assignment]
_leases._RENEWAL_FRACTION = 4 / 300
alive.CHECK_SECONDS = 1.0
automations.heartbeat_within = lambda: timedelta(seconds=10)


class OutlastingConfig(BaseModel):
    """How it runs, and beside which one that is dead."""

    resources: Resources = Resources(workers=1, threads=1)
    dead: UUID


@flow(name="outlasting")
def outlasting(config: OutlastingConfig) -> str:
    """One tiny stage, and then until the server has been away; the id of its flow run."""
    Run.announce = lambda self, stage, key: None  # type: ignore[method-assign]  # no MLflow here
    with prefect_run("outlasting", config):
        numbers(NumbersConfig(count=3))
        deadline = time.monotonic() + PATIENCE
        while not _seen(UUID(runtime.flow_run.id), config.dead) and time.monotonic() < deadline:
            time.sleep(0.2)
    return str(runtime.flow_run.id)


def _seen(living: UUID, dead: UUID) -> bool:
    """Whether the dead one is known as such, and this one has said since that it runs."""
    try:
        with get_client(sync_client=True) as client:
            return _names(client, dead)[-1] == "Crashed" and _names(client, living)[-2:] == ["Crashed", "Running"]
    except httpx.HTTPError:
        return False


def beat_late() -> None:
    """Once connected, the events of this process find no other connection before the file BACK is there."""
    back, reconnect, connected = Path(os.environ["BACK"]), PrefectEventsClient._reconnect, False

    async def reconnect_late(self: PrefectEventsClient) -> None:
        nonlocal connected
        if connected and not back.exists():
            raise ConnectionRefusedError("its server counts first")
        connected = True
        await reconnect(self)

    PrefectEventsClient._reconnect = reconnect_late  # type: ignore[method-assign]


def missed() -> dict[str, Any]:
    """The states of each flow run, the message of the dead one's last, and the log of the one that lives."""
    beat_late()
    with get_client(sync_client=True) as client:
        automations.install_automations()
        time.sleep(2)  # until the server's triggers have heard of them
        silent = [client.create_flow_run(outlasting, tags=each, state=Running()).id for each in ([automations.TAG], [])]
    with tags(automations.TAG):
        living = UUID(outlasting(OutlastingConfig(dead=silent[0])))
    time.sleep(3)  # what is logged is sent in batches
    with get_client(sync_client=True) as client:
        log = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[living])))
        return {
            "living": _names(client, living),
            "dead": _names(client, silent[0]),
            "said": _states(client, silent[0])[-1].message,
            "others": _names(client, silent[1]),
            "log": [line.message for line in log if line.name == "textmill.alive"],
        }


@flow(name="leased")
def leased(deployment: UUID) -> int:
    """How many places of the deployment are taken when the server is back and the lease was renewed."""
    Path(os.environ["STAGE_CALLS"]).write_text("leased\n")
    while not Path(os.environ["BACK"]).exists():
        time.sleep(0.2)
    time.sleep(RENEWED)
    with get_client(sync_client=True) as client:
        return _taken(client, deployment)


def deployed() -> dict[str, Any]:
    """The states of the run, and how many places were taken before and after its end."""
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(leased), name="leased", concurrency_limit=1)
        run = client.create_flow_run_from_deployment(deployment)
        client.set_flow_run_state(run.id, Pending())  # as a worker does: the place is taken
        run = client.read_flow_run(run.id)
    taken: Any = flow_engine.run_flow(leased, flow_run=run, parameters={"deployment": deployment})
    with get_client(sync_client=True) as client:
        return {"states": _names(client, run.id), "taken": taken, "left": _taken(client, deployment)}


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
