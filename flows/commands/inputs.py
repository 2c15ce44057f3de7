"""Sources for `textmill clean INPUT...`: files, directories, globs and URIs, read as their names say."""

import logging
import re
from collections.abc import Sequence
from glob import glob
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from data_quality.sources.base import NAME_THE_COLUMN
from flows.commands.init import source_lines
from flows.commands.survey import (
    COMPRESSIONS,
    EXTENSIONS,
    LONG_SAMPLE_BYTES,
    TABLES,
    Found,
    Survey,
    kind_of,
    look_at,
    survey,
)
from flows.config.loading import ConfigError

logger = logging.getLogger("textmill.inputs")

WILDCARDS = "*?["
LONGEST_NAME = 60  # characters of a column's name that is one


def input_sources(inputs: Sequence[str]) -> list[dict[str, Any]]:
    """One or several `ingest.sources` for every input, as `textmill init` would write them, each with its own name.

    Names begin ids, so they come from the input alone, neither from its place among the arguments nor from the other
    inputs: what is cleaned together with more tomorrow is then not read again. A file is named with the folder it was
    given in (`2026-11-25/docs.jsonl`: `2026-11-25-docs`). Only inputs that are of one name even so are numbered.

    Raises:
        ConfigError: an input that is not there, or of no format that can be told by its name; a file in two of them.
    """
    _require_once(inputs)
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


def _require_once(inputs: Sequence[str]) -> None:
    """Refuse files that are named by themselves and by a folder or a pattern: they would be read twice."""
    named: dict[Path, str] = {}
    for item in sorted(set(inputs)):
        place = local_path(item)
        for path in {Path(each).resolve() for each in _matching(place)} if place is not None else ():
            if (other := named.setdefault(path, item)) != item:
                raise _twice(item, other)
    folders = {path: item for path, item in named.items() if path.is_dir()}
    for path, item in named.items():
        for parent in path.parents if folders else ():
            if folders.get(parent, item) == item:
                continue
            if not any(part.startswith(".") for part in path.relative_to(parent).parts):  # which a folder leaves out
                raise _twice(item, folders[parent])


def local_path(item: str) -> str | None:
    """An input as a path of this machine; None for one that is elsewhere."""
    if "://" not in item:
        return item
    return url_to_fs(item)[1] if item.partition("://")[0] in LocalFileSystem.protocol else None


def _matching(item: str) -> list[str]:
    return [item] if Path(item).exists() else sorted(glob(item, recursive=True))


def _twice(item: str, other: str) -> ConfigError:
    return ConfigError(f"{item} is read twice, for {other} is named, too: name one of them")


def _sources(item: str) -> list[dict[str, Any]]:
    if "://" in item:
        return _sources_at(item)
    path = Path(item)
    if path.is_dir():
        return _folder_sources(item, path.absolute().name)
    pattern = any(sign in item for sign in WILDCARDS)
    if not pattern and not path.exists():
        raise ConfigError(f"{item} does not exist")
    _require_format(item)
    return [_file_source(item, [candidate for candidate in _matching(item) if Path(candidate).is_file()])]


def _sources_at(uri: str) -> list[dict[str, Any]]:
    """The same of a URI: what it is and holds is asked of its file system."""
    try:
        system, root = url_to_fs(uri)
        if isinstance(system, LocalFileSystem):
            return _sources(root)
        pattern = any(sign in uri for sign in WILDCARDS) and not system.exists(root)
        # A page on the web would be read whole to tell whether it is a folder.
        file = not pattern and kind_of(uri)[0] in EXTENSIONS and system.isfile(root)
        if not pattern and not file:
            if not system.exists(root):
                raise ConfigError(f"{uri} does not exist")
            if system.isdir(root):
                return _folder_sources(uri, Path(root).name)
        _require_format(uri)
        if file:
            return [_file_source(uri, [uri])]
        found = sorted(path for path, about in system.glob(root, detail=True).items() if about["type"] == "file")
        return [_file_source(uri, [system.unstrip_protocol(path) for path in found])]
    except ConfigError:
        raise
    except Exception as error:  # each file system has its own: no such protocol, no credentials, no answer
        raise ConfigError(f"{uri} cannot be looked at: {error}") from error


def _folder_sources(item: str, name: str) -> list[dict[str, Any]]:
    seen = survey(item)
    if seen.other:
        listed = ", ".join(f"{count} {extension}" for extension, count in sorted(seen.other.items()))
        logger.warning("%s: files that cannot be read by their names are left out: %s", item, listed)
    for found in seen.found:
        _look_at_columns(item, found)
    sources = [source for found in seen.found for source in yaml.safe_load("\n".join(source_lines(found, seen)))]
    return [{**source, "name": _name(f"{name}-{source['name']}")} for source in sources]


def _look_at_columns(item: str, found: Found) -> None:
    """Say what of the guesses about tables may not be what is meant: where those of a folder have several delimiters,
    where a first line taken for names reads like a text, and where the column of text or ids was not found."""
    if found.mixed_delimiters:
        logger.warning(
            "%s: its tables have different delimiters, and those that are not written as their names say will be "
            "skipped: clean them by themselves, or list them as sources with a `delimiter` each in a configuration",
            item,
        )
    if found.format == "csv" and found.text_column and len(found.text_column) > LONGEST_NAME:
        logger.warning(
            "%s: its first line is taken for the names of the columns, and one is %r...; if it is a record, list the "
            "names under `columns` of the source in a configuration",
            item,
            found.text_column[:40],
        )
    ids = f"those of its column {found.id_column!r}" if found.id_column else "made of file and record"
    if found.format in TABLES and found.text_column is None:
        logger.warning(
            "%s: no column with text was seen in the first records of its %s files (or no record ends in the first "
            "%d MB), so `text` is taken for it; ids are %s. %s",
            item,
            found.format,
            LONG_SAMPLE_BYTES >> 20,
            ids,
            NAME_THE_COLUMN,
        )
    if found.repeated_id is not None:
        column, value = found.repeated_id
        logger.warning(
            "%s: its column %r is not taken for ids, for a value repeats in the sample (%r): ids are %s",
            item,
            column,
            value[:LONGEST_NAME],
            ids,
        )


def _require_format(item: str) -> None:
    if kind_of(item)[0] not in EXTENSIONS:
        readable = ", ".join(EXTENSIONS)
        raise ConfigError(f"{item}: its format cannot be told by its name; readable: {readable}, each also compressed")


def _file_source(item: str, present: list[str]) -> dict[str, Any]:
    """The source of a file, or of a pattern, of whose files the first is looked into."""
    format = EXTENSIONS[kind_of(item)[0]]
    name = _name(_told_by(Path(item)) or format)
    if not present:
        return {"format": format, "name": name, "paths": [item]}
    found = look_at(present[0])
    _look_at_columns(item, found)
    [source] = yaml.safe_load("\n".join(source_lines(found, Survey(item, [found], {}))))
    return {**source, "name": name, "paths": [item]}


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
