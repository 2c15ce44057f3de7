"""Runs one source through ingest, for the tests of readers."""

import bz2
import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import IngestConfig
from data_quality.documents import Document, iter_documents
from data_quality.ingest import ingest_piece
from data_quality.pieces import list_pieces


class Ingested:
    """What came out: documents by id, rows of skipped.parquet and files.parquet, and the counts of each piece."""

    def __init__(self, directory: Path, config: IngestConfig, cache: Path | None = None) -> None:
        self.pieces = list_pieces(config, cache)
        self.results = [ingest_piece(piece, directory / f"piece-{number}") for number, piece in enumerate(self.pieces)]
        self.shards = sorted(directory.glob("piece-*/0*.parquet"))
        documents = list(iter_documents(self.shards))
        self.documents: dict[str, Document] = {document.id: document for document in documents}
        assert len(self.documents) == len(documents)
        self.texts = [document.text for document in documents]
        self.skipped = self._rows(directory, "skipped.parquet")
        self.files = self._rows(directory, "files.parquet")
        self.reasons = [row["reason"] for row in self.skipped]

    @staticmethod
    def _rows(directory: Path, name: str) -> list[dict[str, Any]]:
        return [row for path in sorted(directory.glob(f"piece-*/{name}")) for row in pq.read_table(path).to_pylist()]


def ingest(directory: Path, *sources: dict[str, Any], **config: Any) -> Ingested:
    """Ingest ``sources`` (as they stand in a YAML file) into ``directory / "out"``."""
    return Ingested(directory / "out", IngestConfig.model_validate({"sources": sources, **config}))


def zstd(data: bytes) -> bytes:
    """``data`` as a zstd stream."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def write(path: Path, data: bytes) -> Path:
    """Write ``data``, compressed as the extension says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".bz2":
        data = bz2.compress(data)
    elif path.suffix == ".zst":
        data = zstd(data)
    path.write_bytes(data)
    return path
