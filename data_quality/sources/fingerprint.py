"""Content hashes of source files and of their ranges, with a cache that a file's size and modification time open."""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from data_quality.hashing import sha256_stream
from data_quality.sources.ranges import FileRange, cut_file, cutting_settings, is_cuttable
from data_quality.sources.resolve import file_stamp
from data_quality.sources.streams import open_binary

# A file changed within this time before it is read could change again without its time showing it.
RACY_SECONDS = 2.0
MAX_THREADS = 8
"""Files that are cut at a time; each holds some 30 MB of a bzip2 file, and unpacks that on threads of its own."""


class _Asked(NamedTuple):
    """A file as it is now, and how it is to be cut."""

    uri: str
    cut: str
    size: int
    stamp: str | None


class Fingerprints:
    """SHA-256 of files and of ranges of files.

    ``cache`` is an SQLite file (safe between processes) or None; ``trust`` lets it answer.
    """

    def __init__(self, cache: Path | None, trust: bool) -> None:
        self._trust = trust
        self._db: sqlite3.Connection | None = None
        self._cut: dict[_Asked, tuple[list[FileRange], bool]] = {}  # cut ahead, and whether to be kept
        if cache is not None:
            cache.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(cache, timeout=60)
            self._db.execute(
                "create table if not exists files (uri text primary key, size integer, stamp text, sha256 text)"
            )
            self._db.execute(
                "create table if not exists ranges "
                "(uri text, cut text, size integer, stamp text, ranges text, primary key (uri, cut))"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._db is not None:
            self._db.commit()
            self._db.close()

    def of(self, uri: str) -> tuple[str, int]:
        """(SHA-256 in hex, size in bytes) of a file."""
        size, stamp = file_stamp(uri)
        if self._db is not None and self._trust and stamp is not None:
            row = self._db.execute(
                "select sha256 from files where uri = ? and size = ? and stamp = ?", (uri, size, stamp)
            ).fetchone()
            if row is not None:
                return row[0], size
        settled = _is_settled(stamp)
        with open_binary(uri) as file:
            sha256 = sha256_stream(file)
        if self._db is not None and settled:
            self._db.execute("insert or replace into files values (?, ?, ?, ?)", (uri, size, stamp, sha256))
        return sha256, size

    def cut_ahead(self, files: Sequence[tuple[str, str]], source: Any, target: int) -> None:
        """Cut the files (URI, path) of a source for which :meth:`ranges_of` has no answer yet, several at a time:
        hashing and decompressing leave the other threads their turn."""
        paths: dict[_Asked, str] = {}
        for uri, path in files:
            asked = _ask(uri, path, source, target)
            if asked is not None and self._known(asked) is None:
                paths[asked] = path
        if len(paths) < 2:
            return
        stop = threading.Event()

        def cut(asked: _Asked) -> tuple[list[FileRange], bool]:
            settled = _is_settled(asked.stamp)
            return cut_file(asked.uri, paths[asked], source, target, stop), settled

        threads = min(os.cpu_count() or 1, MAX_THREADS)
        with ThreadPoolExecutor(threads, thread_name_prefix="cut") as pool:
            try:
                self._cut |= zip(paths, pool.map(cut, paths), strict=True)
            except BaseException:
                stop.set()  # an interrupt does not wait for the rest of large files
                raise

    def ranges_of(self, uri: str, path: str, source: Any, target: int) -> list[FileRange]:
        """The ranges of about ``target`` bytes that a file of ``source`` is cut into.

        Empty when it is to be read whole, as one of up to ``target`` bytes is.
        """
        asked = _ask(uri, path, source, target)
        if asked is None:
            return []
        known = self._known(asked)
        if known is not None:
            return [FileRange.model_validate(item) for item in json.loads(known)]
        ranges, settled = self._cut.pop(asked, (None, _is_settled(asked.stamp)))
        if ranges is None:
            ranges = cut_file(uri, path, source, target)
        if self._db is not None and settled:
            stored = json.dumps([item.model_dump(mode="json") for item in ranges])
            self._db.execute("insert or replace into ranges values (?, ?, ?, ?, ?)", (*asked, stored))
        return ranges

    def _known(self, asked: _Asked) -> str | None:
        """The ranges as they are stored."""
        if self._db is None or not self._trust or asked.stamp is None:
            return None
        row = self._db.execute(
            "select ranges from ranges where uri = ? and cut = ? and size = ? and stamp = ?", asked
        ).fetchone()
        return None if row is None else row[0]


def _ask(uri: str, path: str, source: Any, target: int) -> _Asked | None:
    """None for a file that is read whole."""
    if not is_cuttable(source, path):
        return None
    size, stamp = file_stamp(uri)
    if size <= target:
        return None
    return _Asked(uri, json.dumps(cutting_settings(source, path, target), sort_keys=True), size, stamp)


def _is_settled(stamp: str | None) -> bool:
    """Whether what is read from now on is what the stamp stands for, also later."""
    return stamp is not None and not (stamp.isdigit() and time.time() - int(stamp) / 1e9 < RACY_SECONDS)
