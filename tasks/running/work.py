"""What a stage function is given, and what it says back beside the files it writes."""

import contextvars
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.machine.resources import Resources
from tasks.running.journal import Journal
from tasks.running.progress import StageProgress
from tasks.store import Store

logger = logging.getLogger("textmill.stage")


@dataclass
class Work:
    """What a stage function is given: where to write, with what, and whom to tell."""

    directory: Path
    scratch: Path  # survives a kill, is dropped when the artifact is published
    store: Store
    resources: Resources
    progress: StageProgress
    journal: Journal
    counts: dict[str, Any] = field(default_factory=dict)
    parts: list[dict[str, str]] = field(default_factory=list)
    shards: list[dict[str, Any]] = field(default_factory=list)
    tables: list[tuple[str, list[dict[str, Any]], str]] = field(default_factory=list)
    markdown: list[tuple[str, str]] = field(default_factory=list)
    flow_context: contextvars.Context | None = None  # where the batches for a Dask cluster are submitted
    workers: dict[str, dict[str, float]] = field(default_factory=dict)  # of a Dask cluster: batches, seconds, memory
    parts_seconds: float = 0.0  # while parts were built side by side; the rest of the stage is this process's own
    environment: dict[str, Any] = field(default_factory=dict)  # of this build, beside what is always noted
    digest: str | None = None  # set by stages whose content has an order-free digest of its own
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def published(self) -> Path:
        """Where the artifact will be once this build is published."""
        stage, _, key = self.directory.name.rpartition("-")
        return self.store.artifacts / stage / key

    def table(self, name: str, rows: list[dict[str, Any]], description: str) -> None:
        """Show rows as a table artifact in Prefect when the stage ends."""
        self.tables.append((name, rows, description))

    @contextmanager
    def graceful_stop(self) -> Iterator[Callable[[], bool]]:
        """Turn SIGTERM and Ctrl-C into a flag inside the block; yields `should_stop`.

        For loops that leave a checkpoint. A second signal, of either kind, is not caught. When the block ends after a
        signal, the former handler gets it, so that Prefect records the run as cancelled or crashed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self.stop.is_set
            return
        received: list[int] = []
        former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def note(number: int, frame: object) -> None:
            received.append(number)
            self.stop.set()
            restore()
            # not the logger: the signal may have come in the middle of a write to the same stream
            os.write(2, f"\n{signal.Signals(number).name}: stopping after a checkpoint\n".encode())

        def restore() -> None:
            for number, handler in former.items():
                signal.signal(number, handler)

        for number in former:
            signal.signal(number, note)
        try:
            yield self.stop.is_set
        finally:
            restore()
            if received:
                logger.warning("stopped by %s; run it again and it goes on", signal.Signals(received[0]).name)
                signal.raise_signal(received[0])
