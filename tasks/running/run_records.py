"""Runs that have ended or died, by their records: which ones, and a note of what has been done about it."""

from collections.abc import Iterable, Mapping
from typing import Any

from tasks.machine.host import HOST, process_runs
from tasks.running.heartbeat import PROCESS, is_alive, read_run
from tasks.running.journal import end_for_dead, noted_stages
from tasks.storage.files import write_json
from tasks.store import RUN_DIRECTORY, Store


def run_records(store: Store) -> list[dict[str, Any]]:
    """The records of all runs, each with its `token`; {} beside that where one is damaged."""
    return [read_run(path) | {"token": path.name} for path in sorted(store.runs.iterdir()) if path.is_dir()]


def dead_runs(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of records those that say `running` but whose process is gone."""
    return [record for record in records if record.get("state") == "running" and not is_alive(record)]


def untold_runs(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of records those of runs that have ended, of which nobody has made sure yet that the Prefect server knows."""
    return [
        record
        for record in records
        if record.get("state") in ("finished", "failed", "killed")
        and record.get("flow_runs")
        and not record.get("told")
        and record.get("host") == HOST
        and record.keys() >= PROCESS
        and not process_runs(record["pid"], record["process_created"])
    ]


def mark_told(store: Store, record: Mapping[str, Any]) -> None:
    """Record that the server knows how a run ended, unless another process has taken the run over meanwhile."""
    directory = store.runs / record["token"]
    with store.lock(f"run-{record['identity']}"):
        now = read_run(directory)
        if (now.get("state"), now.get("pid")) == (record["state"], record["pid"]):
            write_json(directory / "run.json", {**now, "told": True})


def mark_dead(store: Store, token: str) -> None:
    """Record that a run's process is gone, unless another process has taken the run over meanwhile.

    MLflow is told as well, with the next run that sends: what says `Running` there, the run and the stages that it had
    begun and nobody builds now, ends as killed.
    """
    directory = store.runs / token
    with store.lock(f"run-{read_run(directory)['identity']}"):
        record = read_run(directory)
        if record.get("state") != "running" or is_alive(record):
            return
        for stage, key in set(noted_stages(directory)):
            if (partial := store.partial / f"{stage}-{key}").exists():
                with store.lock_if_free(key) as free:
                    if free and partial.exists():
                        end_for_dead(partial / RUN_DIRECTORY)
        end_for_dead(directory)
        write_json(directory / "run.json", {**record, "state": "killed"})
