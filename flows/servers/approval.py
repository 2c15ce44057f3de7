"""A person's yes or no in the middle of a flow, given in the Prefect UI (`Resume`) or by its client."""

from prefect import runtime
from prefect.events import emit_event
from prefect.exceptions import FlowPauseTimeout, Pause
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from pydantic import Field
from rich.console import Console

from data_quality.errors import UsageError
from flows.servers import services
from flows.servers.automations import SUSPENDED, TAG
from tasks.running.progress import outlives_its_reader

POLL_SECONDS = 5


class NotAnswered(UsageError):
    """A flow run paused for a person's answer, and none came in time."""


class Approval(RunInput):
    """What is asked in the dialog."""

    approve: bool = Field(default=False, description="Promote the challenger. Off: it is refused.")
    note: str = Field(default="", description="Why; it is kept beside the version in MLflow.")


def approved(text: str, timeout_hours: float) -> Approval:
    """Wait for the answer. Call it outside of tasks and of the record of a pipeline run: the flow may end here.

    A flow run of a deployment is suspended: its process ends, and on resumption the flow starts anew and comes by here
    again, where the answer then is. One without a deployment cannot be started anew by a worker: it pauses, and waits.

    Args:
        text: markdown that the dialog shows.

    Raises:
        NotAnswered: nobody answered in time. (A suspended run is not there to raise: the server fails it.)
    """
    asked = Approval.with_initial_data(description=text)
    seconds = round(3600 * timeout_hours)
    if runtime.deployment.id:
        try:
            return suspend_flow_run(wait_for_input=asked, timeout=seconds, key="approval")
        except Pause:
            _say_suspended()
            raise
    page = f"{services.ui_url('prefect')}/runs/flow-run/{runtime.flow_run.id}"
    # with --json, too: nobody would know what the process waits for
    said = f"waits for a yes or no, for {timeout_hours:g} hours at most: press Resume at {page}"
    outlives_its_reader(Console(stderr=True)).print(said, markup=False, highlight=False, soft_wrap=True)
    try:
        return pause_flow_run(wait_for_input=asked, timeout=seconds, poll_interval=POLL_SECONDS, key="approval")
    except FlowPauseTimeout as error:
        raise NotAnswered(
            f"nobody answered within {timeout_hours:g} hours (approval.timeout_hours): nothing was promoted; the same "
            "command asks again"
        ) from error


def _say_suspended() -> None:
    """Tell the automation that no heartbeat will come.

    The server's own event of this state waits for the event of the state before, which a server that was started in
    between has never seen: the automation would hear of it after a quarter of an hour, and take the run for dead.
    """
    emit_event(
        SUSPENDED,
        resource={"prefect.resource.id": f"prefect.flow-run.{runtime.flow_run.id}"},
        related=[{"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"}],
    )
