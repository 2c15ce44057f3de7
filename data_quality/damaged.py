"""Shards and models that are damaged, or made by someone who means harm: one error that names the file.

`lm.damaged` has the same for models: the two libraries do not import each other.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_quality.errors import UsageError

SETTINGS_BYTES = 16 << 20
AGAIN = "copy it anew, or make it again"


class DamagedFile(UsageError):
    """A file that is not what it must be. The message names it, says what is wrong and what to do."""


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """What is read within is the Parquet file `path`: what Arrow raises of it becomes a DamagedFile.

    FileNotFoundError stays itself.
    """
    try:
        yield
    except (FileNotFoundError, DamagedFile):
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DamagedFile(f"{path}: {' '.join(str(error).split())[:300]}: {AGAIN}") from error


def read_object(path: Path, limit: int = SETTINGS_BYTES) -> dict[str, Any]:
    """The JSON object of a file. Raises DamagedFile, FileNotFoundError for none."""
    with path.open("rb") as file:
        content = file.read(limit + 1)
    try:
        found = json.loads(content) if len(content) <= limit else None
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{path}: not JSON ({str(error)[:200]}): {AGAIN}") from error
    if not isinstance(found, dict):
        raise DamagedFile(f"{path}: no JSON object of {limit:,} bytes at most: {AGAIN}")
    return found
