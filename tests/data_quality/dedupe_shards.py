"""Documents shards, tables and their rows for the tests of dedupe and mixture."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.dedupe.evidence import DUPLICATES_SCHEMA
from data_quality.documents import SCHEMA
from data_quality.hashing import text_hash


def shard(path: Path, documents: Sequence[dict[str, Any]]) -> Path:
    """A shard of documents given as id, text and, if they matter, source, language, metadata."""
    rows = [
        {
            "id": document["id"],
            "text": document["text"],
            "source": document.get("source", "s"),
            "language": document.get("language"),
            "metadata": json.dumps(document.get("metadata", {})),
            "text_hash": text_hash(document["text"]),
        }
        for document in documents
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, row_group_size=3)
    return path


def shards(directory: Path, documents: Sequence[dict[str, Any]], count: int = 1) -> list[Path]:
    """`documents` dealt out to `count` shards."""
    return [shard(directory / f"{n:05d}.parquet", documents[n::count]) for n in range(count)]


def texts(*texts: str, source: str = "s") -> list[dict[str, Any]]:
    """Documents with the ids a, b, c, ..."""
    return [{"id": chr(ord("a") + n), "text": text, "source": source} for n, text in enumerate(texts)]


def duplicates(path: Path, dropped: dict[str, str]) -> Path:
    """A table of duplicates: {dropped: kept}."""
    rows = [{"dropped": d, "kept": k, "kind": "near", "jaccard": 0.9, "family_size": 2} for d, k in dropped.items()]
    pq.write_table(pa.Table.from_pylist(rows, schema=DUPLICATES_SCHEMA), path)
    return path


def verdicts(path: Path, failing: Sequence[str], passing: Sequence[str] = (), listed: Sequence[str] = ()) -> Path:
    """A table of verdicts; `listed` is what the keep-list names."""
    rows = [{"id": id, "first_reason": "rule"} for id in failing]
    rows += [{"id": id, "first_reason": None} for id in passing]
    rows += [{"id": id, "first_reason": None, "listed": "keep"} for id in listed]
    schema = pa.schema([("id", pa.string()), ("first_reason", pa.string()), ("listed", pa.string())])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(path).to_pylist())
