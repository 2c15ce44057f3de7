"""Whether an artifact's directory is what its manifest says: by sizes and times, or by the files' hashes."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from tasks.storage.files import read_json, write_json
from tasks.storage.manifest_form import ManifestForm, form_problem

FORMAT = 1
STAMPS = "stamps.json"  # below `_run/`
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
    """Note size, modification time and checksum of an artifact's files, whose SHA-256 has just been taken."""
    stamps = {}
    for entry in manifest["files"]:
        stat = (path / entry["path"]).stat()
        stamps[entry["path"]] = [stat.st_size, stat.st_mtime_ns, checksum(path / entry["path"])]
    (path / RUN_DIRECTORY).mkdir(exist_ok=True)
    write_json(path / RUN_DIRECTORY / STAMPS, stamps, durable=False)  # a broken one has the files hashed again


def checksum(path: Path) -> str:
    """The XXH3 of a file, 128 bits: a tenth of what a SHA-256 costs, and as sure to tell damage that nobody made."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, xxhash.xxh3_128).hexdigest()


def file_hashes(path: Path) -> dict[str, str]:
    """The SHA-256 of each file of an artifact, as its manifest has it."""
    return {entry["path"]: entry["sha256"] for entry in read_json(path / "manifest.json")["files"]}


def touched(path: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether a file's size or modification time differs from when it was last hashed."""
    stamps = _stamps(path)
    try:
        return any(stamps[entry["path"]][:-1] != _now(path / entry["path"]) for entry in manifest["files"])
    except (FileNotFoundError, KeyError, TypeError):
        return True  # also when the stamps are broken: hashing is always right


def _stamps(path: Path) -> Mapping[str, Any]:
    """What is noted of an artifact's files; nothing, if that is damaged."""
    try:
        return dict(read_json(path / RUN_DIRECTORY / STAMPS))
    except (FileNotFoundError, ValueError, TypeError, RecursionError):
        return {}


def _now(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


@dataclass(frozen=True)
class Seen:
    """What an artifact that was found sound looked like.

    Attributes:
        manifest: of what it has, digest and parts.
        files: the size and the modification time of each of its files, and of the manifest, by their paths.
    """

    manifest: Mapping[str, Any]
    files: Mapping[str, list[int]]

    def stands(self, path: Path) -> bool:
        """Whether nothing in its directory has been touched since."""
        try:
            return all(_now(path / name) == stamp for name, stamp in self.files.items())
        except FileNotFoundError:
            return False


def look_at(path: Path, manifest: Mapping[str, Any]) -> Seen | None:
    """How an artifact looks now, for one who is about to hash it; None if a file is missing."""
    try:
        files = {name: _now(path / name) for name in ("manifest.json", *(entry["path"] for entry in manifest["files"]))}
    except FileNotFoundError:
        return None
    return Seen({name: manifest[name] for name in ("digest", "parts")}, files)


def content_problem(path: Path, manifest: Mapping[str, Any]) -> str | None:
    """What is wrong with an artifact's files by size and hash, or None.

    A file that has the size, the time and the checksum that were noted with its SHA-256 is not hashed again. That finds
    any damage; who can forge a file and its note could as well forge the manifest.
    """
    stamps = _stamps(path)
    for entry in manifest["files"]:
        file = path / entry["path"]
        if file.is_symlink():
            return f"{entry['path']} is a link"
        if not file.is_file():
            return f"{entry['path']} is missing"
        if file.stat().st_size != entry["bytes"]:
            return f"{entry['path']} has {file.stat().st_size:,} bytes instead of {entry['bytes']:,}"
        if stamps.get(entry["path"]) == [*_now(file), checksum(file)]:
            continue
        with file.open("rb") as handle:
            if hashlib.file_digest(handle, "sha256").hexdigest() != entry["sha256"]:
                return f"{entry['path']} has another SHA-256"
    return None
