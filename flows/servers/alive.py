"""A flow run that lives says so when the Prefect server has taken it for dead.

A server that comes back counts the heartbeats that it has missed before it hears of any, and the automation of
flows/servers/automations.py sets runs that live to `Crashed` (so it does when only the network was away). Only the run
itself knows better. An automation that answered its next heartbeat with `Running` could overwrite the run's end: to
Prefect that is a retry, which it allows.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tasks.machine.beside import beside
from tasks.running.reconcile import SILENT

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas import OrchestrationResult

logger = logging.getLogger("textmill.alive")

CHECK_SECONDS = 10.0
CALL_SECONDS = 5.0
"""How long an answer is waited for, once: the end of the run waits for a call that is under way."""

MESSAGE = "It lives: the server had missed its heartbeats."


@contextmanager
def kept_running(flow_run_id: str | None) -> Iterator[None]:
    """Look every `CHECK_SECONDS` inside the block whether the server takes this flow run for dead, and contradict it.

    Nothing is said after the block: the end of the run, which Prefect reports then, stays. None: there is no server.
    """
    if flow_run_id is None:
        yield
        return
    context, run = copy_context(), UUID(flow_run_id)  # of the flow run, so that what is logged stands in its log

    def watch(ended: threading.Event) -> None:
        context.run(_watch, run, ended)

    with beside(watch, "kept_running", join_seconds=None):
        yield


def _watch(flow_run_id: UUID, ended: threading.Event) -> None:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    if ended.wait(CHECK_SECONDS):
        return  # a short run needs no client
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),  # of this thread: the next look tries again
        get_client(httpx_settings={"timeout": CALL_SECONDS}, sync_client=True) as client,
    ):
        _look(client, flow_run_id)
        while not ended.wait(CHECK_SECONDS):
            _look(client, flow_run_id)


def _look(client: "SyncPrefectClient", flow_run_id: UUID) -> None:
    import httpx
    from prefect.exceptions import PrefectException
    from prefect.states import Running

    try:
        state = client.read_flow_run(flow_run_id).state
        if state is None or not state.is_crashed() or not (state.message or "").startswith(SILENT):
            return
        answer: OrchestrationResult[Any] = client.set_flow_run_state(flow_run_id, Running(message=MESSAGE))
    except (httpx.HTTPError, PrefectException, ValueError) as error:  # the server is away: the next look may find it
        logger.debug("the server was not asked whether it takes this run for dead: %s", error)
        return
    if answer.status.value == "ACCEPT":  # else somebody has just set another
        logger.warning("the server had missed this run's heartbeats and set it to Crashed; it is Running again")
