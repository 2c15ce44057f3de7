"""Versions: of the libraries that shape an output, which are in its key; of machine and code, which are on record."""

import importlib.metadata
import platform
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from tasks.machine.host import processor
from tasks.machine.resources import Resources


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """The versions of distributions, and of "unicode": the tables of characters that this Python has."""
    return {
        name: unicodedata.unidata_version if name == "unicode" else importlib.metadata.version(name) for name in names
    }


def environment(resources: Resources) -> dict[str, Any]:
    """What the manifest records about the machine and the code, beside what is in the key."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": processor(),
        "system": platform.system(),
        "threads": resources.threads,
        "packages": dict(_packages()),
    }


@cache
def _packages() -> Mapping[str, str]:
    found = {}
    for name in ("duckdb", "numpy", "pyarrow", "textmill", "tokenizers", "torch"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an uninstalled checkout has no distribution of its own
    return found
