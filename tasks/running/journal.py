"""A journal of everything MLflow is to be told: written first to disk, sent later by the shipper.

One JSON object a line. Training appends a line and goes on; whether a server listens is not its business.
The kinds of event:

    start     journal, name, tags, params, parent (run token)    the run is opened, or reopened after a kill
    metric    key, value, step, time (ms)
    input     name, digest, source, context                      a dataset the stage read
    file      path, directory                                    a file to upload
    model     name, alias, path, key                             a model to register, by reference
    serve     name, alias, path, key, dev                        a fine-tuned model to upload and register; the alias is
                                                                 for the best by `dev`: examples, metric, mean
    retire    keys, names, why                               artifacts, and the registered names that they may have,
                                                             whose versions lose their aliases
    end       status: FINISHED | FAILED | KILLED
"""

import errno
import json
import logging
import math
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

logger = logging.getLogger("textmill.journal")

REQUIRED = {
    "start": {"journal", "name", "tags", "params"},
    "metric": {"key", "value", "step", "time"},
    "end": {"status"},
}
"""What is read of the events that every journal has."""

JOURNAL = "journal.jsonl"
STAGES = "stages.jsonl"


class Journal:
    """Append-only event file of one MLflow run.

    A metric that already stands in the file (same key and step) is not written again: a resumed training repeats
    the steps since its last checkpoint, and MLflow would keep both points.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / JOURNAL
        self._lock = threading.RLock()  # the sampler writes from a thread of its own
        self._known = {(e["key"], e["step"]) for _, e in read_events(self.path) if e["event"] == "metric"}
        _drop_torn_line(self.path)
        self._handle = self.path.open("ab", buffering=0)

    def start(self, *, name: str, parent: str | None, tags: Mapping[str, str], params: Mapping[str, Any]) -> None:
        """Open or reopen the run. The journal's own name tells a resumed build from a rebuilt artifact."""
        journal = next((e["journal"] for _, e in read_events(self.path) if e["event"] == "start"), uuid.uuid4().hex)
        self.write("start", journal=journal, name=name, parent=parent, tags=dict(tags), params=dict(params))

    def write(self, event: str, **fields: Any) -> None:
        """Append one event; a single write, so that a kill leaves whole lines and at most one torn last line.

        Raises:
            OSError: the disk is full; the journal is as it was.
        """
        line = json.dumps({"event": event, **fields}, ensure_ascii=False, default=str).encode() + b"\n"
        with self._lock:
            written = self._handle.write(line)
            if written != len(line):  # what the last free bytes took would tear the next event, too
                descriptor = self._handle.fileno()
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Append metrics of one step; not-a-number is kept (as JSON NaN), a repeated step is not."""
        now = int(time.time() * 1000)
        with self._lock:
            for key, value in values.items():
                if (key, step) not in self._known:
                    self.write("metric", key=key, value=float(value), step=step, time=now)
                    self._known.add((key, step))

    def next_step(self, key: str) -> int:
        """The step after the last one journaled for a metric."""
        with self._lock:
            return max((step for name, step in self._known if name == key), default=-1) + 1

    def close(self) -> None:
        """Flush to disk and close."""
        with self._lock:
            if not self._handle.closed:
                os.fsync(self._handle.fileno())
                self._handle.close()


def _read_lines(path: Path, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file from a byte offset on, each with the offset behind it.

    A torn last line is left for later. A line that is not JSON (a power cut can leave zeros) is skipped with a warning:
    what follows still counts.
    """
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return
    with handle:
        handle.seek(offset)
        for line in handle:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                found = None
            if not isinstance(found, dict):
                logger.warning("%s: the line that ends at byte %d is no event in JSON; skipped", path, offset)
                continue
            yield offset, found


def read_events(path: Path, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """The events of a journal, as `_read_lines` gives lines; one that is no event is skipped with a warning."""
    for end, found in _read_lines(path, offset):
        kind = found.get("event")
        if isinstance(kind, str) and found.keys() >= REQUIRED.get(kind, set()):
            yield end, found
        else:
            logger.warning("%s: the line that ends at byte %d is no event in JSON; skipped", path, end)


def end_for_dead(directory: Path) -> None:
    """Write the end that a killed process could not write, so that its MLflow run does not stay `Running`.

    Whoever takes the build up again writes another start, and the MLflow run is open again.
    """
    last = [e["event"] for _, e in read_events(directory / JOURNAL) if e["event"] in ("start", "end")][-1:]
    if last == ["start"]:
        journal = Journal(directory)
        journal.write("end", status="KILLED")
        journal.close()


def note_stage(run_directory: Path, stage: str, key: str, state: str) -> None:
    """Note, in a run's `stages.jsonl`, an artifact that it builds, has built or has reused."""
    with (run_directory / STAGES).open("ab+") as handle:
        size = handle.seek(0, os.SEEK_END)
        if size:
            handle.seek(size - 1)
            if handle.read(1) != b"\n":  # torn by a kill or a full disk: only that line is lost
                handle.write(b"\n")
        noted = {"stage": stage, "key": key, "state": state, "time": time.time()}
        handle.write(json.dumps(noted).encode() + b"\n")


def read_notes(run_directory: Path) -> Iterator[dict[str, Any]]:
    """What a run has noted of its artifacts (`stage`, `key`, `state`, `time`), in order; some come more than once."""
    for _, note in _read_lines(run_directory / STAGES):
        if all(isinstance(note.get(name), str) for name in ("stage", "key", "state")):
            yield note
        else:
            logger.warning("%s has a damaged line; skipped", run_directory / STAGES)


def noted_stages(run_directory: Path) -> Iterator[tuple[str, str]]:
    """The (stage, key) of each note, in order."""
    for note in read_notes(run_directory):
        yield note["stage"], note["key"]


def history(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Every metric of a journal as (step, value) in the order of steps: what the report draws."""
    series: dict[str, dict[int, float]] = {}
    for _, event in read_events(path):
        if event["event"] == "metric" and math.isfinite(event["value"]):
            series.setdefault(event["key"], {})[event["step"]] = event["value"]
    return {key: sorted(points.items()) for key, points in series.items()}


def _drop_torn_line(path: Path) -> None:
    """Cut a last line that a kill left without its newline, so that the next append starts a line of its own."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole != len(data):
        os.truncate(path, whole)
