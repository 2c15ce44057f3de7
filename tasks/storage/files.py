"""Files: their hashes, and JSON on disk: canonical for hashing, whole or absent for reading."""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from data_quality.errors import UsageError


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        ValueError: it is not JSON (its traceback names the file).
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        error.add_note(f"in {path}")
        raise


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write JSON whole or not at all: temporary file, fsync, rename. The directory must exist.

    Args:
        durable: False for what a power cut may spoil, because whoever reads it can do without.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as handle:
            json.dump(value, handle, indent=1, ensure_ascii=False, sort_keys=True)
            handle.flush()
            if durable:
                os.fsync(handle.fileno())
        os.replace(temporary, path)
    except BaseException:  # a full disk, a signal: nothing stays behind
        temporary.unlink(missing_ok=True)
        raise


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content. Raises FileNotFoundError, whose `filename` is the path, if it is no file."""
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def copy_hashed(source: Path, target: Path, sha256: str) -> None:
    """Copy a file that was hashed before. Raises UsageError if the copy has another hash."""
    shutil.copyfile(source, target)
    if file_sha256(target) != sha256:
        raise UsageError(f"{source} changed while it was read: run it again")


def fsync_directory(path: Path) -> None:
    """Make a rename inside `path` durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
