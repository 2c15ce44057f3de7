"""Whether an artifact's directory is what its manifest says: by sizes and times, or by the files' hashes."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.storage.files import read_json, write_json
from tasks.storage.manifest_form import ManifestForm, form_problem

FORMAT = 1
RUN_DIRECTORY = "_run"  # what may differ between two equal builds: journal, seconds, host
SCRATCH_DIRECTORY = "_scratch"  # what a build needs to go on after a kill, dropped when it is published


def checksum_of(manifest: Mapping[str, Any]) -> str:
    """The SHA-256 of a manifest or another record, so that a flipped byte does not pass for another value."""
    rest = {name: value for name, value in manifest.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON-able record as it will be read back, with its checksum."""
    whole = dict(json.loads(json.dumps(record)))
    return {**whole, "checksum": checksum_of(whole)}


def read_sealed(path: Path) -> dict[str, Any]:
    """A sealed record without its checksum; one of a version that sealed none is taken as it is.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged.
    """
    try:
        record = dict(read_json(path))
    except (TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no record") from error
    if record.pop("checksum", checksum_of(record)) != checksum_of(record):
        raise ValueError(f"{path} was changed")
    return record


def manifest_problem(manifest: Any) -> str | None:
    """What is wrong with a manifest as it was read, or None."""
    if not isinstance(manifest, dict) or "checksum" not in manifest:
        return "its manifest is not one"
    if manifest.get("format") != FORMAT:
        return f"its manifest has format {manifest.get('format')}, this version reads {FORMAT}"
    if manifest["checksum"] != checksum_of(manifest):
        return "its manifest was changed"
    return form_problem(ManifestForm, manifest)


def own_files(directory: Path) -> Iterator[Path]:
    """The files that make up an artifact; what a kill left of a write is removed on the way."""
    for root, directories, names in os.walk(directory):
        if Path(root) == directory:
            directories[:] = [d for d in directories if d not in (RUN_DIRECTORY, SCRATCH_DIRECTORY)]
            names = [name for name in names if name != "manifest.json"]
        for name in names:
            if not name.endswith(".tmp"):
                yield Path(root) / name
            else:
                (Path(root) / name).unlink()  # left by a kill in the middle of a write


def write_stamps(path: Path, manifest: Mapping[str, Any]) -> None:
    """Note sizes and modification times of an artifact's files, which have just been hashed."""
    stamps = {}
    for entry in manifest["files"]:
        stat = (path / entry["path"]).stat()
        stamps[entry["path"]] = [stat.st_size, stat.st_mtime_ns]
    (path / RUN_DIRECTORY).mkdir(exist_ok=True)
    write_json(path / RUN_DIRECTORY / "stamps.json", stamps, durable=False)  # a broken one has the files hashed again


def touched(path: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether a file's size or modification time differs from when it was last hashed."""
    try:
        stamps = read_json(path / RUN_DIRECTORY / "stamps.json")
        for entry in manifest["files"]:
            stat = (path / entry["path"]).stat()
            if [stat.st_size, stat.st_mtime_ns] != stamps.get(entry["path"]):
                return True
    except (FileNotFoundError, ValueError, AttributeError):
        return True  # also when stamps.json is broken: hashing is always right
    return False


def content_problem(path: Path, manifest: Mapping[str, Any]) -> str | None:
    """What is wrong with an artifact's files by size and SHA-256, or None."""
    for entry in manifest["files"]:
        file = path / entry["path"]
        if file.is_symlink():
            return f"{entry['path']} is a link"
        if not file.is_file():
            return f"{entry['path']} is missing"
        if file.stat().st_size != entry["bytes"]:
            return f"{entry['path']} has {file.stat().st_size:,} bytes instead of {entry['bytes']:,}"
        with file.open("rb") as handle:
            if hashlib.file_digest(handle, "sha256").hexdigest() != entry["sha256"]:
                return f"{entry['path']} has another SHA-256"
    return None
