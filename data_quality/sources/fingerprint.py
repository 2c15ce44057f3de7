"""Content hashes of source files, with a cache that a file's size and modification time open."""

import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from data_quality.hashing import sha256_stream
from data_quality.sources.resolve import file_stamp
from data_quality.sources.streams import open_binary

# A file changed within this time of being hashed could change again without its time showing it.
RACY_SECONDS = 2.0


class Fingerprints:
    """SHA-256 of files. ``cache`` is an SQLite file (safe between processes) or None; ``trust`` lets it answer."""

    def __init__(self, cache: Path | None, trust: bool) -> None:
        self._trust = trust
        self._db: sqlite3.Connection | None = None
        if cache is not None:
            cache.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(cache, timeout=60)
            self._db.execute(
                "create table if not exists files (uri text primary key, size integer, stamp text, sha256 text)"
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


def _is_racy(stamp: str) -> bool:
    return stamp.isdigit() and time.time() - int(stamp) / 1e9 < RACY_SECONDS
