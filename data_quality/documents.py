"""Documents and their shards: the one format that every data stage reads and writes.

A corpus is a set of Parquet shards (zstd). Shard boundaries are cut by content, so that a document added in front does
not shift every later shard, and the digest of a corpus is that of its set of documents, whatever their order or shards.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.damaged import AGAIN, DamagedFile, reading
from data_quality.hashing import DIGEST_MODULUS, text_hash, unit_hash
from data_quality.shards import BATCH_ROWS, read_batches
from data_quality.sql import connect

__all__ = [
    "SCHEMA",
    "Document",
    "IdCollision",
    "ShardWriter",
    "documents_digest",
    "find_id_collisions",
    "iter_documents",
    "read_shard",
    "row_digest",
]

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("language", pa.string()),
        pa.field("metadata", pa.string(), nullable=False),
        pa.field("text_hash", pa.string(), nullable=False),
    ]
)
DIGEST_COLUMNS = ["id", "text_hash", "source", "language", "metadata"]
ROW_GROUP_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Document:
    """One document. ``metadata`` holds only what JSON can."""

    id: str
    text: str
    source: str
    language: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def canonical_metadata(metadata: Mapping[str, Any]) -> str:
    """``metadata`` as JSON with sorted keys; what JSON cannot hold (dates, decimals) is written with ``str``."""
    if not metadata:
        return "{}"
    return json.dumps(metadata, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


def row_digest(id: str, text_hash: str, source: str, language: str | None, metadata: str) -> int:
    """SHA-256 of one row in canonical form, as an integer below 2^256."""
    row = json.dumps([id, text_hash, source, language, metadata], ensure_ascii=False, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(row.encode()).digest(), "big")


def documents_digest(documents: Path | str | pa.Table) -> str:
    """Digest of a shard or of a table: the sum modulo 2^256 of its rows' digests (64 hex)."""
    if isinstance(documents, pa.Table):
        batches: Iterable[pa.RecordBatch] = documents.select(DIGEST_COLUMNS).to_batches()
    else:
        batches = read_batches(Path(documents), DIGEST_COLUMNS)
    total = 0
    for batch in batches:
        total += sum(map(row_digest, *(column.to_pylist() for column in batch.columns)))
    return f"{total % DIGEST_MODULUS:064x}"


@dataclass(frozen=True, slots=True)
class Shard:
    """A finished shard: file name, number of documents, UTF-8 bytes of text, and digest."""

    name: str
    rows: int
    bytes: int
    digest: str


class ShardWriter:
    """Writes documents into ``directory`` as 00000.parquet, 00001.parquet, ...

    A shard is closed when it reaches ``max_rows`` or ``max_bytes`` (UTF-8 bytes of text), or, from half of either on,
    after a document whose id hashes below its share of an eighth of the maximum: the boundaries depend on the ids, so
    that they fall back into step after an insertion. A shard appears under its name only when it is complete. Memory:
    one row group.
    """

    def __init__(self, directory: Path, max_rows: int = 50_000, max_bytes: int = 64 << 20) -> None:
        self.directory = Path(directory)
        self.max_rows, self.max_bytes = max_rows, max_bytes
        self.shards: list[Shard] = []
        self._writer: pq.ParquetWriter | None = None
        self._start_shard()

    def _start_shard(self) -> None:
        self._columns: list[list[str | None]] = [[] for _ in SCHEMA]
        self._group_bytes = self._rows = self._bytes = self._digest = 0

    def add(self, document: Document) -> None:
        """Append one document; may finish a shard."""
        size = len(document.text.encode())
        metadata = canonical_metadata(document.metadata)
        hashed = text_hash(document.text)
        self._digest += row_digest(document.id, hashed, document.source, document.language, metadata)
        row = (document.id, document.text, document.source, document.language, metadata, hashed)
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)
        self._rows += 1
        self._bytes += size
        self._group_bytes += size
        if self._ends_shard(document.id, size):
            self._finish_shard()
        elif len(self._columns[0]) >= BATCH_ROWS or self._group_bytes >= ROW_GROUP_BYTES:
            self._flush_row_group()

    def _ends_shard(self, id: str, size: int) -> bool:
        if self._rows >= self.max_rows or self._bytes >= self.max_bytes:
            return True
        if self._rows < self.max_rows // 2 and self._bytes < self.max_bytes // 2:
            return False
        return unit_hash(id) < max(8 / self.max_rows, 8 * size / self.max_bytes)

    @property
    def _temporary(self) -> Path:
        return self.directory / f"{len(self.shards):05d}.tmp"

    def _flush_row_group(self) -> None:
        if self._writer is None:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._temporary, SCHEMA, compression="zstd")
        arrays = [pa.array(column, field.type) for column, field in zip(self._columns, SCHEMA, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), row_group_size=BATCH_ROWS)
        self._columns = [[] for _ in SCHEMA]
        self._group_bytes = 0

    def _finish_shard(self) -> None:
        self._flush_row_group()
        assert self._writer is not None
        self._writer.close()
        self._writer = None
        name = f"{len(self.shards):05d}.parquet"
        os.replace(self._temporary, self.directory / name)
        self.shards.append(Shard(name, self._rows, self._bytes, f"{self._digest % DIGEST_MODULUS:064x}"))
        self._start_shard()

    def close(self) -> list[Shard]:
        """Finish the last shard and return all of them."""
        if self._rows:
            self._finish_shard()
        return self.shards

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._writer is not None:
            self._writer.close()
            self._temporary.unlink(missing_ok=True)


def read_shard(path: Path | str, columns: Sequence[str] | None = None) -> pa.Table:
    """One shard as a table; all columns by default. Raises DamagedFile."""
    with reading(path):
        table = pq.read_table(path, columns=list(columns) if columns is not None else None, partitioning=None)
        table.validate(full=True)  # text that is no UTF-8 would fail where it is first looked at
    return table


def iter_documents(paths: Path | str | Iterable[Path | str]) -> Iterator[Document]:
    """The documents of one or several shards in their order; holds one row group at a time. Raises DamagedFile."""
    columns = ["id", "text", "source", "language", "metadata"]
    for path in [paths] if isinstance(paths, str | Path) else paths:
        for batch in read_batches(Path(path), columns):
            if batch.schema.types != [SCHEMA.field(name).type for name in columns]:
                raise DamagedFile(f"{path}: its columns are not those of documents: {AGAIN}")
            for id, text, source, language, metadata in zip(
                *(column.to_pylist() for column in batch.columns), strict=True
            ):
                yield Document(id, text, source, language, _metadata(metadata, id, path))


def _metadata(metadata: str, id: str, path: Path | str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(metadata)
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedFile(f"{path}: the metadata of {str(id)[:100]} are no JSON: {AGAIN}") from error
    return found


@dataclass(frozen=True, slots=True)
class IdCollision:
    """An id that more than one document bears: how many do, and the paths of the shards that they are in."""

    id: str
    count: int
    shards: tuple[str, ...]


def find_id_collisions(
    paths: Sequence[Path | str],
    temp_directory: Path | None = None,
    *,
    memory_limit: str = "1GB",
    threads: int | None = None,
    limit: int = 20,
) -> list[IdCollision]:
    """Up to ``limit`` ids that occur more than once in the shards, in the order of ids.

    DuckDB groups out of core within ``memory_limit``, in ``threads`` (None: one per core), and spills to
    ``temp_directory`` (None: the system's).
    """
    if not paths:
        return []
    files = sorted(str(path) for path in paths)
    with (
        tempfile.TemporaryDirectory(prefix="textmill-ids-", dir=temp_directory) as spill,
        connect(memory_limit, threads, Path(spill)) as db,
    ):
        rows = db.execute(
            """
            with twice as (
                select id from read_parquet($files) group by id having count(*) > 1 order by id limit $limit
            )
            select id, filename, count(*)
            from read_parquet($files, filename = true) semi join twice using (id)
            group by all order by all
            """,
            {"files": files, "limit": limit},
        ).fetchall()
    found: dict[str, dict[str, int]] = {}
    for id, path, count in rows:
        found.setdefault(id, {})[path] = count
    return [IdCollision(id, sum(shards.values()), tuple(shards)) for id, shards in found.items()]
