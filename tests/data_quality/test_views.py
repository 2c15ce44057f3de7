"""The two views of a shard: what was measured stands beside what is dropped, wherever it was measured."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.documents import SCHEMA
from data_quality.views import write_views

SPAN = pa.struct(
    [("start", pa.int64()), ("end", pa.int64()), ("kind", pa.string()), ("replacement", pa.string())],
)


def write_shard(tmp_path: Path, kept: dict[str, bool]) -> tuple[Path, Path]:
    """A documents shard and its decisions."""
    rows = [
        {"id": id, "text": f"Text of {id}.", "source": "s", "language": None, "metadata": "{}", "text_hash": id * 32}
        for id in kept
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), tmp_path / "documents.parquet")
    count = len(kept)
    decisions = {
        "id": list(kept),
        "kept": list(kept.values()),
        "reason": pa.array([None if stays else "rule" for stays in kept.values()], pa.string()),
        "reasons": pa.array([[] if stays else ["rule"] for stays in kept.values()], pa.list_(pa.string())),
        "twin": pa.nulls(count, pa.string()),
        "jaccard": pa.nulls(count, pa.float64()),
        "language": ["en"] * count,
        "edits": pa.array([[]] * count, pa.list_(SPAN)),
        "spans": pa.array([[]] * count, pa.list_(SPAN)),
        "redacted_metadata": pa.array(['{"from":"<email>"}' if id == "r" else None for id in kept], pa.string()),
    }
    pq.write_table(pa.table(decisions), tmp_path / "decisions.parquet")
    return tmp_path / "documents.parquet", tmp_path / "decisions.parquet"


def written(tmp_path: Path, kept: dict[str, bool], measured: list[list[Path]]) -> list[dict[str, Any]]:
    documents, decisions = write_shard(tmp_path, kept)
    write_views([documents], decisions, tmp_path / "kept.parquet", tmp_path / "dropped.parquet", measured)
    assert pq.read_table(tmp_path / "kept.parquet").column_names == SCHEMA.names
    return list(pq.read_table(tmp_path / "dropped.parquet").to_pylist())


def test_numbers_are_found_in_any_of_the_files_and_are_null_where_there_are_none(tmp_path: Path) -> None:
    first, second, scores = (tmp_path / f"{name}.parquet" for name in ("first", "second", "scores"))
    columns = {"script": ["Latn"], "language": ["xx"], "list": [[1]]}
    pq.write_table(pa.table({"id": ["c"], "words": [7], "share": [0.5], **columns}), first)
    pq.write_table(
        pa.table(
            {"id": ["z", "a"][::-1], "words": [1, 9], "share": [0.1, 0.2], **{k: v * 2 for k, v in columns.items()}}
        ),
        second,
    )
    pq.write_table(pa.table({"id": ["c"], "perplexity": [3.0], "words": [100]}), scores)
    rows = written(tmp_path, {"a": False, "b": True, "c": False}, [[first, second], [scores]])
    assert [row["id"] for row in rows] == ["a", "c"]
    assert [(row["words"], row["share"], row["script"]) for row in rows] == [(1, 0.1, "Latn"), (7, 0.5, "Latn")]
    assert [row["perplexity"] for row in rows] == [None, 3.0]
    assert [row["language"] for row in rows] == ["en", "en"]
    assert "list" not in rows[0]


def test_a_shard_of_which_nothing_goes_has_the_columns_all_the_same(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "words": [1]}), tmp_path / "signals.parquet")
    assert written(tmp_path, {"a": True}, [[tmp_path / "signals.parquet"]]) == []
    assert pq.read_schema(tmp_path / "dropped.parquet").names[-1] == "words"


def test_redacted_metadata_stand_in_both_views(tmp_path: Path) -> None:
    assert [row["metadata"] for row in written(tmp_path, {"a": False, "r": False}, [])] == ["{}", '{"from":"<email>"}']
    written(tmp_path, {"a": True, "r": True}, [])
    assert pq.read_table(tmp_path / "kept.parquet")["metadata"].to_pylist() == ["{}", '{"from":"<email>"}']
