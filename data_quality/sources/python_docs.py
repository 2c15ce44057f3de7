"""The documentation of the Python packages installed on this machine: docstrings by file, with the package as source.

Nothing is imported. One document per file; its text is the docstrings of the module and of every class and function in
order of appearance, a blank line between them.
"""

import codecs
import difflib
import importlib.machinery
import importlib.metadata
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from data_quality.config import PythonDocsSource
from data_quality.sources.base import FileRef, Reading, Record, Skip, SourceNotFound
from data_quality.sources.docstrings import docstrings
from data_quality.sources.streams import read_chunks, too_long


def find_files(source: PythonDocsSource) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(path, ``package/file.py`` with slashes, {package, version}) of every Python file of the packages asked for."""
    search_path = tuple(source.search_path) or tuple(sys.path)
    owners = _distributions(search_path)
    if source.packages == "all installed":
        packages = sorted(owners)
    else:
        packages = sorted({name for wanted in source.packages for name in _import_names(wanted, owners, search_path)})
    for package in packages:
        extra = {"package": package, "version": owners.get(package, ("", ""))[1]}
        for path, relative in _package_files(package, search_path):
            yield path, relative, extra


@lru_cache
def _distributions(search_path: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """Import name -> (distribution, version), as the installed metadata says."""
    owners: dict[str, tuple[str, str]] = {}
    for distribution in importlib.metadata.distributions(path=list(search_path)):
        name, version = distribution.metadata["Name"], distribution.version
        for import_name in _top_level_names(distribution):
            owners.setdefault(import_name, (name, version))
    return owners


def _top_level_names(distribution: importlib.metadata.Distribution) -> set[str]:
    # RECORD is read as text: parsing it into PackagePath objects takes most of a second for a full environment.
    record = distribution.read_text("RECORD")
    if record is None:
        return set((distribution.read_text("top_level.txt") or "").split())
    names = set()
    for line in record.splitlines():
        path = line.removeprefix('"').partition(",")[0]
        top, slash, rest = path.partition("/")
        if slash and rest.endswith(".py") and top.isidentifier():
            names.add(top)
        elif not slash and top.endswith(".py"):
            names.add(top.removesuffix(".py"))
    return names


def _import_names(wanted: str, owners: dict[str, tuple[str, str]], search_path: tuple[str, ...]) -> list[str]:
    if _locations(wanted, search_path):
        return [wanted]
    canonical = wanted.lower().replace("_", "-").replace(".", "-")
    names = [
        name
        for name, (distribution, _) in owners.items()
        if distribution.lower().replace("_", "-").replace(".", "-") == canonical
    ]
    if not names:
        known = sorted({*owners, *(distribution for distribution, _ in owners.values())})
        close = difflib.get_close_matches(wanted, known, 3)
        hint = f"; did you mean {' or '.join(close)}?" if close else "."
        raise SourceNotFound(
            f"python_docs: package {wanted!r} is not installed{hint} Install it, or take it out of `packages`"
        )
    return names


def _locations(package: str, search_path: tuple[str, ...]) -> list[str]:
    if not package.isidentifier():
        return []
    spec = importlib.machinery.PathFinder.find_spec(package, list(search_path))
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return list(spec.submodule_search_locations)
    return [spec.origin] if spec.origin is not None and spec.origin.endswith(".py") else []


def _package_files(package: str, search_path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for location in _locations(package, search_path):
        root = Path(location)
        if root.is_file():
            yield str(root), root.name
            continue
        for directory, _, names in os.walk(root):
            for name in names:
                if name.endswith(".py"):
                    path = Path(directory, name)
                    yield str(path), f"{package}/{path.relative_to(root).as_posix()}"


def read(ref: FileRef, source: PythonDocsSource) -> Reading:
    """The one document of a Python file, or the reason why there is none."""
    data = bytearray()
    for chunk in read_chunks(ref):
        if len(data) <= source.max_record_bytes:
            data += chunk
    if len(data) > source.max_record_bytes:
        yield Skip("too_long", too_long(ref.bytes, source.max_record_bytes))
        return
    if b"\0" in data:
        yield Skip("null_bytes", "Python source with null bytes")
        return
    try:
        found = docstrings(_decode(bytes(data)))
    except (UnicodeDecodeError, LookupError) as error:
        yield Skip("bad_encoding", str(error))
        return
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        yield Skip("syntax_error", f"{type(error).__name__}: {error}", line)
        return
    # Escapes such as "\0" in a docstring that was meant to be raw.
    text = "\n\n".join(found).replace("\0", "")
    if not found:
        yield Skip("no_docstring", "")
    elif len(text) < source.minimum_characters:
        yield Skip("too_short", f"{len(text)} characters; minimum_characters is {source.minimum_characters}")
    else:
        metadata = {**ref.extra, "file": ref.path}
        yield Record(1, text, source=ref.extra["package"], metadata=metadata)


def _decode(data: bytes) -> str:
    """PEP 263: UTF-8 unless a byte order mark or a comment in the first two lines says otherwise."""
    head = data[:400]
    if b"coding" not in head:
        return data.removeprefix(codecs.BOM_UTF8).decode()
    import io
    import tokenize

    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return data.decode(encoding)
