"""The pid files of this home's services, `<home>/services/<name>.pid`: whom `down` may end, and nobody else."""

import json
from dataclasses import asdict
from pathlib import Path

from flows.servers.processes import Record
from tasks.machine import home
from tasks.storage.files import write_json


class ServiceError(RuntimeError):
    """A service could not be started or does not answer; the message says where its log is."""


def recorded() -> list[str]:
    """All with a pid file, in the order of ending."""
    found = (path.stem for path in home.services_path().glob("*.pid"))
    return sorted(found, key=lambda name: (rank(name), name))


def rank(service: str) -> int:
    """When a service is ended: workers at first, whose flow runs still report to the servers; these before their
    database."""
    return {"mlflow": 1, "prefect": 1, "postgres": 2}.get(service, 0)


def _pid_file(name: str) -> Path:
    return home.services_path() / f"{name}.pid"


def read_record(name: str) -> Record | None:
    """What the pid file of a service says; None: this home has none. Raises ServiceError for a damaged one."""
    try:
        text = _pid_file(name).read_text()
    except FileNotFoundError:
        return None
    try:
        record = Record(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise ServiceError(
            f"{_pid_file(name)} is damaged ({error}): end the {name} process by hand and remove the file"
        ) from error
    # In a copy of a home the record speaks of the original's process, which is none of ours.
    is_copy = record.home != str(home.home()) and (Path(record.home) / "services" / f"{name}.pid").exists()
    return None if is_copy else record


def write_record(name: str, record: Record) -> None:
    """Note a service that was started."""
    write_json(_pid_file(name), asdict(record))


def remove_record(name: str) -> None:
    """Forget a service that has ended."""
    _pid_file(name).unlink(missing_ok=True)
