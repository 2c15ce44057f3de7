"""What every flow does around its stages: open the run's record, under Prefect or without."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console

from tasks.machine import home
from tasks.machine.arrow import start_arrow_threads
from tasks.running.progress import Display, outlives_its_reader
from tasks.running.run import Resources, Run, pipeline_run
from tasks.running.stage_in_prefect import SAID_IN_FULL
from tasks.store import Store, StoreError

last_run: Run | None = None
"""The pipeline run that this process opened last, for the command line's summary."""

QUIET = "TEXTMILL_QUIET"  # set by the command line when its output is for a program


class Settings(Protocol):
    """What the configuration of every flow has."""

    @property
    def resources(self) -> Resources: ...

    def model_dump(self, *, mode: str = ...) -> dict[str, Any]: ...


def _without_traceback(record: logging.LogRecord) -> bool:
    """Leave out where an error was raised whose message says all, and Prefect's `NoneType: None` where none was."""
    if record.exc_info and (record.exc_info[1] is None or isinstance(record.exc_info[1], (*SAID_IN_FULL, StoreError))):
        record.exc_info = None
    return True


def outlive_readers() -> None:
    """Keep the log's lines from ending a run that nobody reads any more (`| head`, a worker that was killed): Prefect
    writes them to consoles of rich."""
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if isinstance(console := getattr(handler, "console", None), Console):
            outlives_its_reader(console)


@contextmanager
def prefect_run(flow: str, config: Settings) -> Iterator[Run]:
    """The pipeline run of the Prefect flow run that this is called in."""
    from prefect import runtime
    from prefect.context import TagsContext

    from flows.servers.alive import kept_running
    from flows.servers.automations import TAG
    from flows.servers.status_page import publish_status
    from tasks.running.reconcile import reconcile_dead_runs

    global last_run
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_without_traceback)
    outlive_readers()
    start_arrow_threads()
    flow_run_id = str(runtime.flow_run.id) if runtime.flow_run.id else None
    # before this run takes a dead one's record over: its Prefect flow run must not stay `Running`
    reconcile_dead_runs(Store(home.store_path()), flow_run_id)
    for name in ("textmill", "data_quality", "lm"):  # to the Prefect UI; the terminal has lines of our own
        logging.getLogger(name).setLevel(logging.INFO)
    display = Display(quiet=bool(os.environ.get(QUIET)))
    run = None
    try:
        # our tag is the flow run's alone: a task asks the server for a slot of each tag that it has, and gives it back
        with (
            TagsContext(current_tags=TagsContext.get().current_tags - {TAG}),
            kept_running(flow_run_id),
            pipeline_run(
                flow,
                config.model_dump(mode="json"),
                config.resources,
                display=display,
                flow_run_id=flow_run_id,
                flow_run_name=runtime.flow_run.name,
            ) as run,
        ):
            last_run = run
            publish_status()
            yield run
    finally:
        publish_status()
        if run is not None and all(record.state == "cached" for record in run.records):
            run.ship_in_background()  # nothing was built, so no shipper has followed this run
