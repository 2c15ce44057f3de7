"""The process that sends journals to MLflow: `python -m tasks.tracking.shipper STORE RUN`.

Training only appends to journals (tasks/running/journal.py). This process follows them and replays their events to the
server, so that a slow or unreachable MLflow costs training nothing and loses nothing: what could not be sent is
still in the journal, and the next run sends it. It ends when its standard input closes, that is when the pipeline
ends or is killed, after one last attempt.

Every journal has a cursor beside it (`shipped.json`: offset, MLflow run id). An event may be sent twice, after a kill
between sending and moving the cursor; MLflow takes an identical metric, parameter or tag again without harm.
"""

import fcntl
import logging
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.running.journal import JOURNAL, noted_stages, read_events
from tasks.storage.files import read_json, write_json
from tasks.store import RUN_DIRECTORY, Store
from tasks.tracking.describe import describe_run
from tasks.tracking.mlflow_events import EXPERIMENT as EXPERIMENT
from tasks.tracking.mlflow_events import Sender

logger = logging.getLogger("textmill.shipper")

CURSOR = "shipped.json"
POLL_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 15.0  # between attempts while the server is away
LAST_ATTEMPT_SECONDS = 10.0  # after the pipeline has ended
BATCH = 1000  # metrics in one request: MLflow's limit


def stage_journals(store: Store, run_directory: Path) -> Iterator[tuple[str, Path]]:
    """The (key, journal directory) of every stage that a run built, wherever its artifact now is."""
    for stage, key in noted_stages(run_directory):
        for directory in (store.artifacts / stage / key, store.partial / f"{stage}-{key}"):
            if (directory / RUN_DIRECTORY / JOURNAL).exists():
                yield key, directory / RUN_DIRECTORY
                break


def unsent(directory: Path) -> bool:
    """Whether a journal holds events that its server has not been sent."""
    return next(read_events(directory / JOURNAL, _cursor(directory)["offset"]), None) is not None


def ship_run(store: Store, run_directory: Path, client: Any) -> bool:
    """Send what is new in a run's journals, the parent's first. Returns whether anything was sent."""
    run_id, sent = _ship(run_directory, run_directory.name, None, client)
    for key, directory in stage_journals(store, run_directory):
        sent |= _ship(directory, key, run_id, client)[1]
    children = ((directory, _cursor(directory)["run_id"]) for _, directory in stage_journals(store, run_directory))
    describe_run(store, run_directory, children, client)
    return sent


def _ship(directory: Path, key: str, parent_id: str | None, client: Any) -> tuple[str | None, bool]:
    """Send what is new in one journal. Returns its MLflow run and whether anything was sent."""
    try:
        handle = (directory / JOURNAL).open("rb")
    except FileNotFoundError:
        return None, False  # renamed into place since the listing: found there next time
    with handle:
        # Two shippers may follow one journal: that of a killed run, which sends its rest, and that of the next one.
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            return _send_rest(directory, key, parent_id, client)
        except Exception as error:
            known = _cursor(directory)["run_id"]
            if known is None or getattr(error, "error_code", None) != "RESOURCE_DOES_NOT_EXIST":
                raise
            logger.warning("MLflow no longer has run %s (a new database?): sending it anew", known)
            (directory / CURSOR).unlink()
            return _send_rest(directory, key, parent_id, client)


def _send_rest(directory: Path, key: str, parent_id: str | None, client: Any) -> tuple[str | None, bool]:
    cursor = _cursor(directory)
    events = list(read_events(directory / JOURNAL, cursor["offset"]))
    uploads = directory.parent if directory.name == RUN_DIRECTORY else directory
    sender = Sender(client, cursor["run_id"], key, parent_id, uploads)
    for start in range(0, len(events), BATCH):
        chunk = events[start : start + BATCH]
        sender.send([event for _, event in chunk])
        try:
            write_json(directory / CURSOR, {"offset": chunk[-1][0], "run_id": sender.run_id})
        except FileNotFoundError:
            break  # renamed into place meanwhile: sent again from there, without harm
    return sender.run_id, bool(events)


def _cursor(directory: Path) -> dict[str, Any]:
    try:
        cursor = read_json(directory / CURSOR)
        return {"offset": int(cursor["offset"]), "run_id": cursor["run_id"]}
    except FileNotFoundError:
        return {"offset": 0, "run_id": None}
    except (ValueError, KeyError, TypeError):
        logger.warning("%s is damaged: sending all of that journal again, without harm", directory / CURSOR)
        return {"offset": 0, "run_id": None}


def ship_all(store: Store, client: Any, until: threading.Event | None = None) -> bool:
    """Send whatever earlier runs could not, oldest first. Returns whether all were tried before `until` was set.

    What cannot be sent of one run is logged and keeps no other: it is tried again with the next run.
    """
    for run_directory in sorted(path for path in store.runs.iterdir() if path.is_dir()):
        if until is not None and until.is_set():
            return False
        try:
            journals = [run_directory, *(directory for _, directory in stage_journals(store, run_directory))]
            if any(unsent(directory) for directory in journals):
                ship_run(store, run_directory, client)
        except Exception as error:  # noqa: BLE001  as in `follow`
            logger.warning("MLflow did not take run %s (%s: %s)", run_directory.name, type(error).__name__, error)
    return True


def follow(
    store: Store, run_directory: Path, ended: threading.Event, last_attempt_seconds: float = LAST_ATTEMPT_SECONDS
) -> bool:
    """Send as events come until `ended` is set; then finish. Returns whether everything of this run was sent.

    What earlier runs left is sent once, after what this one has so far.

    Args:
        last_attempt_seconds: how long to go on trying to send this run after `ended`; one request more may be under way
            then.
    """
    import mlflow

    client = mlflow.MlflowClient()
    pause = POLL_SECONDS
    caught_up = False
    deadline = float("inf")
    while True:
        last = ended.is_set()
        if last:
            deadline = min(deadline, time.monotonic() + last_attempt_seconds)
        try:
            while ship_run(store, run_directory, client) and last:
                pass  # until nothing is left: a journal may have been renamed into place, or sent anew
            if not caught_up:
                caught_up = ship_all(store, client, None if last else ended)  # the end of this run comes first
            pause = POLL_SECONDS
            if last:
                return True
        except Exception as error:  # noqa: BLE001  any answer but success means: keep the events, try again
            logger.warning("MLflow did not take the journal (%s: %s); trying again", type(error).__name__, error)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        if not last:
            ended.wait(pause)
        elif time.monotonic() + POLL_SECONDS > deadline:
            return False
        else:
            time.sleep(POLL_SECONDS)


def main() -> None:
    """Follow one run until standard input closes."""
    from tasks.machine.home import configure_environment

    configure_environment()
    store, run_directory = Store(Path(sys.argv[1])), Path(sys.argv[2])
    logging.basicConfig(
        filename=run_directory / "shipper.log",
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    ended = threading.Event()

    def watch() -> None:
        sys.stdin.buffer.read()
        ended.set()

    threading.Thread(target=watch, daemon=True).start()
    sys.exit(0 if follow(store, run_directory, ended) else 1)


if __name__ == "__main__":
    main()
