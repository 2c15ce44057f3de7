"""Sources for `textmill clean INPUT...`: files, directories, globs and URIs, read as their names say."""

from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import Any

import yaml

from flows.init import source_lines
from flows.loading import ConfigError
from flows.survey import EXTENSIONS, Survey, kind_of, look_at, survey


def input_sources(inputs: Sequence[str]) -> list[dict[str, Any]]:
    """One or several `ingest.sources` for every input, as `textmill init` would write them, each with its own name.

    Raises:
        ConfigError: an input that is not there, or of no format that can be told by its name.
    """
    sources: list[dict[str, Any]] = []
    taken: set[str] = set()
    for item in sorted(set(inputs)):  # names begin ids: they must not depend on the order of the arguments
        for source in _sources(item):
            name, number = source["name"], 2
            while source["name"] in taken:
                source["name"] = f"{name}-{number}"
                number += 1
            taken.add(source["name"])
            sources.append(source)
    return sources


def _sources(item: str) -> list[dict[str, Any]]:
    path = Path(item)
    if "://" not in item and path.is_dir():
        seen = survey(path)
        return [source for found in seen.found for source in yaml.safe_load("\n".join(source_lines(found, seen)))]
    pattern = "://" in item or any(sign in item for sign in "*?[")
    if not pattern and not path.exists():
        raise ConfigError(f"{item} does not exist")
    extension, _ = kind_of(path)
    if extension not in EXTENSIONS:
        readable = ", ".join(EXTENSIONS)
        raise ConfigError(f"{item}: its format cannot be told by its name; readable: {readable}, each also compressed")
    local = [path] if "://" in item or path.exists() else sorted(map(Path, glob(item, recursive=True)))
    present = [candidate for candidate in local if candidate.is_file()]
    if not present:
        return [{"format": EXTENSIONS[extension], "name": EXTENSIONS[extension], "paths": [item]}]
    found = look_at(present[0])
    [source] = yaml.safe_load("\n".join(source_lines(found, Survey(present[0].parent, [found], {}))))
    return [{**source, "paths": [item]}]
