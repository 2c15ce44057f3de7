"""Files that a model is read from, which may be damaged, or made by someone who means harm.

Each function gives what it is asked for or raises :class:`DamagedFile`, which names the file and its fault. Nothing
that a file says is run, and what is taken of memory is in proportion to the file's size.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

SETTINGS_BYTES = 16 << 20
"""Of a file of settings. Ours have a few kilobytes; a task's labels are among them."""
VOCABULARY_BYTES = 1 << 30
"""Of a file of words or tokens. JSON takes up to twenty times its size in memory."""
AGAIN = "copy it anew, or make it again"

Settings = TypeVar("Settings", bound=BaseModel)


class DamagedFile(ValueError):
    """A file that is not what it must be. The message names it, says what is wrong and what to do."""


def read_json(path: Path, limit: int = SETTINGS_BYTES) -> Any:
    """What a JSON file says. Raises DamagedFile for one that is none or has more than `limit` bytes, FileNotFoundError
    for none."""
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise DamagedFile(f"{path}: more than {limit:,} bytes, which no such file has: {AGAIN}")
    try:
        return json.loads(content)
    except RecursionError as error:
        raise DamagedFile(f"{path}: nested too deep: {AGAIN}") from error
    except ValueError as error:  # no JSON, or no UTF-8
        raise DamagedFile(f"{path}: not JSON ({error}): {AGAIN}") from error


def read_object(path: Path, limit: int = SETTINGS_BYTES) -> dict[str, Any]:
    """The same for a file that holds a JSON object."""
    found = read_json(path, limit)
    if not isinstance(found, dict):
        raise DamagedFile(f"{path}: {type(found).__name__} where an object must be: {AGAIN}")
    return found


def validated(kind: type[Settings], values: Any, path: Path) -> Settings:
    """Settings read from `path`. Raises DamagedFile naming the first key that is wrong."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "its content"
        raise DamagedFile(f"{path}: {where[:100]}: {first['msg'][:300]}: {AGAIN}") from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """What is read of `path` within: an error in its values that does not name the file becomes a DamagedFile that
    does."""
    try:
        yield
    except DamagedFile:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, IndexError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else str(error)
        if isinstance(error, ValueError) and str(path.parent) in said:
            raise
        raise DamagedFile(f"{path}: {' '.join(said.split())[:300]}: {AGAIN}") from error


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A Parquet table. Raises DamagedFile, FileNotFoundError for none."""
    try:
        table = pq.read_table(path, columns=None if columns is None else list(columns), partitioning=None)
        table.validate(full=True)  # text that is no UTF-8 would fail where it is first looked at
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a name that is no UTF-8
        raise DamagedFile(f"{path}: {str(error)[:300]}: {AGAIN}") from error
    if missing := [name for name in columns or () if name not in table.column_names]:
        raise DamagedFile(f"{path}: no column {' and '.join(missing)}: {AGAIN}")
    return table
