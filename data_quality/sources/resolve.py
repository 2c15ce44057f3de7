"""From the paths of a source to its files: directories, globs and fsspec URIs."""

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from data_quality.config import FileSource
from data_quality.sources.base import SourceNotFound
from data_quality.sources.streams import split_compression


def find_files(source: FileSource, extensions: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(URI, path below its root) of every file of ``source``, each once.

    A directory gives the files with one of ``extensions``, compressed or not, hidden ones left out; a glob gives what
    it matches and is no folder, below the folder before its first wildcard; a file is taken whatever its name. A file
    that is reached by two ways keeps its longest path. Raises :class:`SourceNotFound` for a path with no file, a link
    that leads nowhere, a pipe, which would be waited for, a name that is not in UTF-8, and where two files would get
    the same ids.
    """
    found: dict[str, str] = {}
    for path in source.paths:
        for uri, relative in _expand(path, extensions, source):
            if len(relative) > len(found.get(uri, "")):
                found[uri] = relative
    by_relative: dict[str, str] = {}
    for uri, relative in sorted(found.items()):
        if relative in by_relative:
            raise SourceNotFound(
                f"source {source.name!r}: {by_relative[relative]} and {uri} would both be called {relative!r}: make "
                "two sources of them, each with a `name` of its own"
            )
        if not _is_utf8(uri):
            name = uri.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            way = "rename it, or leave it out by `exclude`" if _is_utf8(uri.removesuffix(relative)) else "rename it"
            raise SourceNotFound(f"source {source.name!r}: the name of {name} is not in UTF-8, as ids must be: {way}")
        if "://" not in uri and not os.path.isfile(uri):
            what = "is a pipe or a device" if os.path.exists(uri) else "leads nowhere"
            raise SourceNotFound(f"source {source.name!r}: {uri} {what}: remove it, or name it under `exclude`")
        by_relative[relative] = uri
        yield uri, relative


def _expand(path: str, extensions: tuple[str, ...], source: FileSource) -> list[tuple[str, str]]:
    if not path.startswith(("memory:", "file:")) and "://" not in path:
        path = os.path.abspath(os.path.expanduser(path))
    fs, root = url_to_fs(path)
    looked_for = "files"
    if _has_wildcard(root) and not fs.exists(root):
        files, base = sorted(fs.glob(root)), _before_wildcard(root)
        files = [file for file in files if not fs.isdir(file)]
    elif fs.isdir(root):
        files, base = sorted(fs.find(root)), root
        looked_for = f"{', '.join(extensions)} files (or .gz, .zst, .bz2)"
        files = [file for file in files if _is_candidate(_below(base, file), extensions)]
    elif fs.exists(root):
        files, base = [root], root.rpartition("/")[0]
    else:
        raise SourceNotFound(f"source {source.name!r}: {path} does not exist; correct `paths`")
    pairs = [(_uri(fs, file), _below(base, file)) for file in files]
    pairs = [pair for pair in pairs if is_selected(pair[1], source.include, source.exclude)]
    if not pairs:
        filtered = f" after `include` and `exclude` ({len(files)} before)" if files else ""
        raise SourceNotFound(
            f"source {source.name!r}: {path} has no {looked_for}{filtered}; correct `paths` or `format`"
        )
    return pairs


def is_selected(relative: str, include: tuple[str, ...], exclude: tuple[str, ...]) -> bool:
    """Whether a path matches one of ``include`` (all, when empty) and none of ``exclude``; ``*`` crosses ``/``."""
    if include and not any(fnmatchcase(relative, pattern) for pattern in include):
        return False
    return not any(fnmatchcase(relative, pattern) for pattern in exclude)


def _is_utf8(name: str) -> bool:
    """Whether a name can be written; what the system could not read in one is kept as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _has_wildcard(path: str) -> bool:
    return any(character in path for character in "*?[")


def _before_wildcard(path: str) -> str:
    parts = path.split("/")
    first = next(index for index, part in enumerate(parts) if _has_wildcard(part))
    return "/".join(parts[:first])


def _below(base: str, file: str) -> str:
    return file.removeprefix(base).lstrip("/")


def _is_candidate(relative: str, extensions: tuple[str, ...]) -> bool:
    hidden = any(part.startswith(".") for part in relative.split("/"))
    return not hidden and split_compression(relative)[0].lower().endswith(extensions)


def _uri(fs: Any, path: str) -> str:
    return path if isinstance(fs, LocalFileSystem) else fs.unstrip_protocol(path)


def file_stamp(uri: str) -> tuple[int, str | None]:
    """(size in bytes, something that changes when the file does or None where the file system has no such thing)."""
    if "://" not in uri:
        status = os.stat(uri)
        return status.st_size, str(status.st_mtime_ns)
    info = fsspec.core.url_to_fs(uri)[0].info(uri)
    stamp = info.get("ETag") or info.get("LastModified") or info.get("mtime")
    return int(info["size"]), None if stamp is None else str(stamp)
