"""What a build took and where it ran: beside the artifact, no part of its digest, for two equal builds differ in it."""

from pathlib import Path
from typing import Any

from tasks.storage.files import write_json
from tasks.storage.integrity import RUN_DIRECTORY, read_sealed, sealed
from tasks.store import Artifact, StoreError

SIDECAR = f"{RUN_DIRECTORY}/sidecar.json"


def write_sidecar(directory: Path, record: dict[str, Any]) -> None:
    """Put it beside a build, with its checksum."""
    write_json(directory / SIDECAR, sealed(record))


def sidecar(artifact: Artifact) -> dict[str, Any]:
    """Seconds, peak memory and host of the build; no part of the artifact's digest.

    Raises:
        FileNotFoundError: the artifact is a part, or has been collected.
        StoreError: the file is damaged.
    """
    path = artifact.path / SIDECAR
    try:
        return read_sealed(path)
    except ValueError as error:
        raise StoreError(
            f"{path} is damaged: remove {artifact.path}, run it again, and the stage is built anew"
        ) from error
