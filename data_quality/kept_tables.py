"""Tables by code point, made once and kept in a file: each process that needs one would pay half a second for it."""

import hashlib
import os
import unicodedata
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Tables = tuple[npt.NDArray[Any], ...]

DIRECTORY = Path(__file__).parent / "__pycache__"


def kept_tables(name: str, make: Callable[[], Tables], *sources: str) -> Tables:
    """What `make` returns, from a file in the package's cache directory if it was made before.

    Another version of Unicode and a changed source give another file; one that is damaged is made anew. Where no file
    can be written, each process makes its own.

    Args:
        sources: the Python files by whose content the tables are determined (`__file__`).
    """
    made_by = hashlib.blake2b(unicodedata.unidata_version.encode(), digest_size=8)
    for source in sources:
        made_by.update(Path(source).read_bytes())
    path = DIRECTORY / f"{name}-{made_by.hexdigest()}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:  # a ZIP archive, which checks the CRC of what is read
            return tuple(stored[key] for key in stored.files)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        tables = make()
        with suppress(OSError):  # read-only
            _write(path, tables)
        return tables


def _write(path: Path, tables: Tables) -> None:
    """Whole or not at all: several workers may start at once."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, *tables)
    os.replace(temporary, path)
