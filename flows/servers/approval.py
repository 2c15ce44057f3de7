"""A person's yes or no in the middle of a flow, given in the Prefect UI (`Resume`) or by its client."""

from prefect import runtime
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

POLL_SECONDS = 5


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
        FlowPauseTimeout: nobody answered in time. (A suspended run is not there to raise: the server fails it.)
    """
    asked = Approval.with_initial_data(description=text)
    seconds = round(3600 * timeout_hours)
    if runtime.deployment.id:
        return suspend_flow_run(wait_for_input=asked, timeout=seconds, key="approval")
    return pause_flow_run(wait_for_input=asked, timeout=seconds, poll_interval=POLL_SECONDS, key="approval")
