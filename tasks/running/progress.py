"""Progress of one stage, shown three ways from one count: a rich bar, the Prefect UI, a plain line when piped.

The stage only calls `advance`. Prefect is told by a background thread at most once a second, so that a slow or
absent server never slows the work; the same thread notices that the run was cancelled in the UI.
"""

import contextvars
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tasks.machine.beside import beside

logger = logging.getLogger("textmill.progress")

PREFECT_INTERVAL_SECONDS = 1.0  # updating a progress artifact costs 25 ms
CANCEL_INTERVAL_SECONDS = 5.0
LONG_STAGE_SECONDS = 3.0  # shorter stages get no progress artifact
PLAIN_INTERVAL_SECONDS = 30.0


cancelled_in_ui = threading.Event()
"""Set when this process ends its run because somebody cancelled it; Prefect itself would call that a crash."""


class StageProgress:
    """A counter of one stage's work; `total` may be set or raised while it runs."""

    def __init__(self, label: str, display: "Display") -> None:
        self.label = label
        self.done = 0
        self.total: int | None = None
        self.unit = ""
        self._display = display

    def start(self, total: int, unit: str) -> Callable[[int], None]:
        """Announce how much there is to do; returns `advance`."""
        self.done, self.total, self.unit = 0, total, unit
        self._display.refresh(self)
        return self.advance

    def advance(self, n: int = 1) -> None:
        """Count `n` more units as done."""
        self.done += n
        self._display.refresh(self)

    def set(self, done: int) -> None:
        """Set the count, as a training does that goes on from step `done`."""
        self.done = done
        self._display.refresh(self)

    def fraction(self) -> float:
        """Done over total, 0 to 1."""
        return min(self.done / self.total, 1.0) if self.total else 0.0


def outlives_its_reader(console: Console) -> Console:
    """The console, which falls silent when nobody reads it any more: rich would end the process, and the run too."""
    console.on_broken_pipe = lambda: setattr(console, "quiet", True)  # type: ignore[method-assign]
    return console


class Display:
    """The terminal's side: one live bar for the running stage, one line for each that ended."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = outlives_its_reader(Console(stderr=True, quiet=quiet, emoji=False))
        self._bars = Progress(
            TextColumn("  [cyan]{task.description:<24}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self._ids: dict[int, TaskID] = {}
        self._last_plain = 0.0

    @contextmanager
    def stage(self, label: str) -> Iterator[StageProgress]:
        """Show one stage while it runs."""
        progress = StageProgress(label, self)
        self._last_plain = time.monotonic()
        if self.console.is_terminal:
            self._ids[id(progress)] = self._bars.add_task(label, total=None, unit="")
            self._bars.start()
        try:
            yield progress
        finally:
            if id(progress) in self._ids:
                self._bars.stop()
                self._bars.remove_task(self._ids.pop(id(progress)))

    def refresh(self, progress: StageProgress) -> None:
        """Redraw; when the output is no terminal, a line every half minute."""
        bar = self._ids.get(id(progress))
        if bar is not None:
            self._bars.update(bar, completed=progress.done, total=progress.total, unit=progress.unit)
        elif time.monotonic() - self._last_plain > PLAIN_INTERVAL_SECONDS and progress.total:
            self._last_plain = time.monotonic()
            self.line(f"  {progress.label}: {progress.done:,} of {progress.total:,} {progress.unit}")

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(text, highlight=False, soft_wrap=True)


@contextmanager
def told_to_prefect(progress: StageProgress, flow_run_id: str) -> Iterator[None]:
    """Keep a progress artifact of the current Prefect task run up to date, and obey a cancellation.

    A run started from a terminal has no worker that would end it when it is cancelled in the UI. So the state is
    asked for every few seconds, and `Cancelling` becomes a SIGTERM to this process, as a worker would send it.
    """
    context = contextvars.copy_context()
    with beside(lambda ended: context.run(_tell_prefect, progress, flow_run_id, ended), "prefect-progress"):
        yield


def _tell_prefect(progress: StageProgress, flow_run_id: str, ended: threading.Event) -> None:
    from uuid import UUID

    from prefect.artifacts import create_progress_artifact, update_progress_artifact
    from prefect.client.orchestration import get_client

    started = last_cancel_check = time.monotonic()
    artifact_id: UUID | None = None
    shown = -1.0
    warned = False
    while not ended.wait(PREFECT_INTERVAL_SECONDS):
        now = time.monotonic()
        percent = round(100 * progress.fraction(), 1)
        try:
            if now - started > LONG_STAGE_SECONDS and percent != shown:
                count = f"{progress.done:,} of {progress.total:,} {progress.unit}" if progress.total else "under way"
                description = f"{progress.label}: {count}"
                if artifact_id is None:
                    artifact_id = create_progress_artifact(  # type: ignore[assignment]
                        percent, key=artifact_slug(progress.label), description=description
                    )
                else:
                    update_progress_artifact(artifact_id, percent, description=description)
                shown = percent
            if now - last_cancel_check > CANCEL_INTERVAL_SECONDS:
                last_cancel_check = now
                with get_client(sync_client=True) as client:
                    state = client.read_flow_run(UUID(flow_run_id)).state
                if state is not None and state.is_cancelling():
                    logger.warning("the run was cancelled in the UI: stopping")
                    cancelled_in_ui.set()
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
        except Exception as error:  # noqa: BLE001  the work goes on whatever the server says
            if not warned:
                logger.warning("Prefect does not answer (%s); the work goes on", type(error).__name__)
            warned = True
    if artifact_id is not None and not warned:
        try:
            update_progress_artifact(artifact_id, 100.0, description=f"{progress.label}: done")
        except Exception as error:  # noqa: BLE001
            logger.warning("Prefect does not answer (%s); the work goes on", type(error).__name__)


def artifact_slug(name: str) -> str:
    """A Prefect artifact key: lower-case letters, digits and dashes."""
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")
