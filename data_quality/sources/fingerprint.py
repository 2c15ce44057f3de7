"""Content hashes of source files and of their ranges, with a cache that a file's size and modification time open."""

import json
import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from data_quality.hashing import sha256_stream
from data_quality.sources.ranges import FileRange, cut_file, cutting_settings, is_cuttable
from data_quality.sources.resolve import file_stamp
from data_quality.sources.streams import open_binary

# A file changed within this time of being hashed could change again without its time showing it.
RACY_SECONDS = 2.0


class Fingerprints:
    """SHA-256 of files and of ranges of files.

    ``cache`` is an SQLite file (safe between processes) or None; ``trust`` lets it answer.
    """

    def __init__(self, cache: Path | None, trust: bool) -> None:
        self._trust = trust
        self._db: sqlite3.Connection | None = None
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
        with open_binary(uri) as file:
            sha256 = sha256_stream(file)
        if self._db is not None and stamp is not None and not _is_racy(stamp):
            self._db.execute("insert or replace into files values (?, ?, ?, ?)", (uri, size, stamp, sha256))
        return sha256, size

    def ranges_of(self, uri: str, path: str, source: Any, target: int) -> list[FileRange]:
        """The ranges of about ``target`` bytes that a file of ``source`` is cut into.

        Empty when it is to be read whole, as one of up to ``target`` bytes is.
        """
        if not is_cuttable(source, path):
            return []
        size, stamp = file_stamp(uri)
        if size <= target:
            return []
        cut = json.dumps(cutting_settings(source, path, target), sort_keys=True)
        if self._db is not None and self._trust and stamp is not None:
            row = self._db.execute(
                "select ranges from ranges where uri = ? and cut = ? and size = ? and stamp = ?",
                (uri, cut, size, stamp),
            ).fetchone()
            if row is not None:
                return [FileRange.model_validate(item) for item in json.loads(row[0])]
        ranges = cut_file(uri, path, source, target)
        if self._db is not None and stamp is not None and not _is_racy(stamp):
            stored = json.dumps([item.model_dump(mode="json") for item in ranges])
            self._db.execute("insert or replace into ranges values (?, ?, ?, ?, ?)", (uri, cut, size, stamp, stored))
        return ranges


def _is_racy(stamp: str) -> bool:
    return stamp.isdigit() and time.time() - int(stamp) / 1e9 < RACY_SECONDS
