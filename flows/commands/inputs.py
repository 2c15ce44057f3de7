"""Sources for `textmill clean INPUT...`: files, directories, globs and URIs, read as their names say."""

import re
from collections.abc import Sequence
from glob import glob
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from flows.commands.init import source_lines
from flows.commands.survey import COMPRESSIONS, EXTENSIONS, Survey, kind_of, look_at, survey
from flows.config.loading import ConfigError

WILDCARDS = "*?["


def input_sources(inputs: Sequence[str]) -> list[dict[str, Any]]:
    """One or several `ingest.sources` for every input, as `textmill init` would write them, each with its own name.

    Names begin ids, so they come from the input alone, neither from its place among the arguments nor from the other
    inputs: what is cleaned together with more tomorrow is then not read again. A file is named with the folder it was
    given in (`2026-11-25/docs.jsonl`: `2026-11-25-docs`). Only inputs that are of one name even so are numbered.

    Raises:
        ConfigError: an input that is not there, or of no format that can be told by its name.
    """
    sources: list[dict[str, Any]] = []
    taken: set[str] = set()
    for item in sorted(set(inputs)):
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
        sources = [source for found in seen.found for source in yaml.safe_load("\n".join(source_lines(found, seen)))]
        return [{**source, "name": _name(f"{path.absolute().name}-{source['name']}")} for source in sources]
    pattern = "://" in item or any(sign in item for sign in WILDCARDS)
    if not pattern and not path.exists():
        raise ConfigError(f"{item} does not exist")
    extension, _ = kind_of(path)
    if extension not in EXTENSIONS:
        readable = ", ".join(EXTENSIONS)
        raise ConfigError(f"{item}: its format cannot be told by its name; readable: {readable}, each also compressed")
    local = [path] if "://" in item or path.exists() else sorted(map(Path, glob(item, recursive=True)))
    present = [candidate for candidate in local if candidate.is_file()]
    name = _name(_told_by(path) or EXTENSIONS[extension])
    if not present:
        return [{"format": EXTENSIONS[extension], "name": name, "paths": [item]}]
    found = look_at(present[0])
    [source] = yaml.safe_load("\n".join(source_lines(found, Survey(present[0].parent, [found], {}))))
    return [{**source, "name": name, "paths": [item]}]


def _told_by(path: Path) -> str:
    """The name of a file without its extensions behind that of its folder, or the last folder before a wildcard."""
    fixed = list(takewhile(lambda part: not any(sign in part for sign in WILDCARDS), path.parts))
    if len(fixed) < len(path.parts):
        return fixed[-1] if fixed else ""
    compressed = path.suffix.lower() in COMPRESSIONS
    return f"{path.parent.name}-{path.with_suffix('').stem if compressed else path.stem}"


def _name(text: str) -> str:
    """No space, colon or hash, which end names in ids."""
    return re.sub(r"[\s:#/]+", "-", text).strip("-") or "documents"
