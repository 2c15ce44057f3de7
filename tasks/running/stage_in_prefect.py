"""A stage as Prefect shows it: a task that is `Cached` or not, and what it counted as artifacts."""

import contextvars
import logging
import time
from typing import TYPE_CHECKING, Any

from data_quality.errors import UsageError
from lm.train.non_finite import NonFiniteError
from tasks.running.memory import OutOfMemory
from tasks.running.pool import WorkerDied
from tasks.running.run import Run
from tasks.running.work import Work
from tasks.storage.artifact import Artifact
from tasks.storage.disk import DiskFull

if TYPE_CHECKING:
    from tasks.running.call import Call

logger = logging.getLogger("textmill.stage")

SAID_IN_FULL = (NonFiniteError, DiskFull, OutOfMemory, UsageError, WorkerDied)
"""Errors whose message says all: neither here nor from the flow run's log (`flows/running.py`) a traceback is shown."""

PREFECT_PAUSE_SECONDS = 120.0


def through_prefect(call: "Call") -> Artifact:
    """Run a call as a Prefect task that shows `Cached` when the store had the artifact.

    Prefect's own caching is off: the store alone decides, and a returned state named `Cached` only shows it.
    """
    from prefect import task
    from prefect.cache_policies import NO_CACHE
    from prefect.states import Completed, Failed

    def build(inputs: dict[str, Any]) -> Any:
        try:
            artifact, reused = call.execute()
        except SAID_IN_FULL as error:
            return Failed(message=str(error), data=error)
        if reused:
            return Completed(name="Cached", message=f"reused {artifact.name}", data=artifact)
        return Completed(message=f"built {artifact.name}", data=artifact)

    name = call.stage.name.replace("_", " ")
    prefect_task = task(
        name=name, task_run_name=call.label.replace("_", " "), cache_policy=NO_CACHE, persist_result=False
    )(build)
    call.run.flow_context = contextvars.copy_context()
    state = prefect_task(call.inputs, return_state=True)
    return state.result()


def show_in_prefect(run: Run, label: str, work: Work) -> None:
    """Publish the stage's tables and markdown; a server that is away is logged, and left alone for a while."""
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    from tasks.running import prefect_text
    from tasks.running.progress import artifact_slug

    if time.monotonic() < run.prefect_away_until:
        return
    counts = [{"what": name.replace("_", " "), "count": value} for name, value in work.counts.items()]
    try:
        if counts:
            create_table_artifact(counts, key=artifact_slug(f"{label}-counts"), description=f"What {label} counted")
        for name, rows, description in work.tables:
            key, said = artifact_slug(f"{label}-{name}"), prefect_text.cell(description)
            create_table_artifact(prefect_text.rows(rows), key=key, description=said)
        for name, text in work.markdown:
            create_markdown_artifact(prefect_text.page(text), key=artifact_slug(f"{label}-{name}"))
    except Exception as error:  # noqa: BLE001
        run.prefect_away_until = time.monotonic() + PREFECT_PAUSE_SECONDS
        logger.warning("Prefect did not take the artifacts of %s (%s)", label, type(error).__name__)
