"""The two views of a shard: what was measured stands beside what is dropped, wherever it was measured."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_quality.documents import SCHEMA
from data_quality.views import Views, write_views

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


PLAIN = {"kept": True, "reason": None, "reasons": [], "twin": None, "jaccard": None, "language": "en"}
PLAIN |= {"edits": [], "spans": [], "redacted_metadata": None}
GONE = {**PLAIN, "kept": False, "reason": "rule", "reasons": ["rule"]}
TWIN = {**PLAIN, "kept": False, "reason": "duplicate.near", "reasons": ["duplicate.near"], "twin": "b", "jaccard": 0.9}
CUT = {"start": 0, "end": 5, "kind": "line", "replacement": ""}
MAIL = {"start": 0, "end": 4, "kind": "pii.email", "replacement": "<email>"}
DECISIONS = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("id", "reason", "twin", "language", "redacted_metadata")),
        pa.field("kept", pa.bool_()),
        pa.field("reasons", pa.list_(pa.string())),
        pa.field("jaccard", pa.float64()),
        pa.field("edits", pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32())]))),
        pa.field("spans", pa.list_(SPAN)),
    ]
)


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, (True, True)),
        ({"d3": {**TWIN, "twin": "c", "jaccard": 0.85}}, (True, True)),  # said otherwise: the texts are as they were
        ({"d0": {**PLAIN, "reasons": ["list.keep", "rule"]}}, (True, True)),
        ({"d0": {**PLAIN, "spans": [CUT]}}, (False, True)),
        ({"d0": {**PLAIN, "edits": [{"start": 0, "end": 2}]}}, (False, True)),
        ({"d1": {**GONE, "spans": [MAIL]}}, (True, False)),
        ({"d1": {**GONE, "redacted_metadata": "{}"}}, (True, False)),
        ({"d0": {**PLAIN, "language": "de"}}, (False, True)),
        ({"d0": TWIN}, (False, False)),
        ({"d1": PLAIN}, (False, False)),
        ({"d0": TWIN, "d1": {**GONE, "spans": [MAIL]}}, (False, False)),  # what stays dropped is not all as it was
        ({"d1": PLAIN, "d2": {**TWIN, "twin": "d1"}, "d3": {**TWIN, "twin": "d1"}}, (False, False)),
    ],
)
@pytest.mark.parametrize("shards", [1, 3])
def test_earlier_views_save_work_and_change_no_byte(
    tmp_path: Path, changed: dict[str, dict[str, Any]], same: tuple[bool, bool], shards: int
) -> None:
    ids = [f"d{number}" for number in range(5_000)]  # more than a row group
    rows = [
        {"id": id, "text": f"Text of {id}.", "source": "s", "language": None, "metadata": "{}", "text_hash": id * 9}
        for id in ids
    ]
    documents = [tmp_path / f"documents-{number}.parquet" for number in range(shards)]
    for number, path in enumerate(documents):
        pq.write_table(pa.Table.from_pylist(rows[number::shards], schema=SCHEMA), path)
    signals = tmp_path / "signals.parquet"
    pq.write_table(pa.table({"id": ids, "words": list(range(len(ids)))}), signals)
    before = {id: PLAIN if int(id[1:]) % 3 == 0 else GONE for id in ids} | {"d3": TWIN, "d6": {**PLAIN, "spans": [CUT]}}
    for name, decided in (("before", before), ("now", before | changed)):
        table = pa.Table.from_pylist([{"id": id, **one} for id, one in decided.items()], schema=DECISIONS)
        otherwise = "none" if name == "before" and shards == 3 else "zstd"  # equal rows, but other bytes
        pq.write_table(table.sort_by("id"), tmp_path / f"{name}.parquet", compression=otherwise)
    views = Views(*(tmp_path / name for name in ("kept-before", "dropped-before", "before.parquet")))
    write_views(documents, views.decisions, views.kept, views.dropped, [[signals]])
    now = tmp_path / "now.parquet"
    fresh = write_views(documents, now, tmp_path / "kept-fresh", tmp_path / "dropped-fresh", [[signals]])
    again = write_views(documents, now, tmp_path / "kept", tmp_path / "dropped", [[signals]], views)
    assert (again[0] is None, again[1] is None) == same
    for name, view in zip(("kept", "dropped"), fresh, strict=True):
        assert view is not None
        assert (tmp_path / name).read_bytes() == (tmp_path / f"{name}-fresh").read_bytes()
        assert pq.read_table(tmp_path / name).equals(view)


@pytest.mark.parametrize("lacking", ["a", "b", "all"])
@pytest.mark.parametrize("again", [False, True])
def test_a_document_without_a_decision_is_an_error_and_leaves_no_view_without_it(
    tmp_path: Path, lacking: str, again: bool
) -> None:
    decided = {"a": True, "b": False, "c": True, "d": False}
    documents, decisions = write_shard(tmp_path, decided)
    earlier = Views(tmp_path / "kept-before", tmp_path / "dropped-before", tmp_path / "before.parquet")
    decisions.rename(earlier.decisions)
    write_views([documents], earlier.decisions, earlier.kept, earlier.dropped)
    table = pq.read_table(earlier.decisions)
    moved = pa.array(
        [id in ("a", "b", "d") for id in decided]
    )  # d is kept now, so that some rows are taken as they are
    table = table.set_column(1, "kept", moved)
    here = [lacking != "all" and id != lacking for id in decided]
    pq.write_table(table.filter(pa.array(here)), decisions)
    with pytest.raises(ValueError, match=r"not one decision for each document: \['[ab]'") as error:
        write_views([documents], decisions, tmp_path / "kept", tmp_path / "dropped", (), earlier if again else None)
    assert error.value.__notes__ == [f"by the decisions in {decisions}"]
    assert not (tmp_path / "kept").exists()


def test_where_only_twins_are_others_no_text_is_decided_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents, decisions = write_shard(tmp_path, {"a": True, "b": False, "c": False})
    views = Views(tmp_path / "kept-before", tmp_path / "dropped-before", tmp_path / "before.parquet")
    decisions.rename(views.decisions)
    write_views([documents], views.decisions, views.kept, views.dropped)
    table = pq.read_table(views.decisions)
    twins = pa.array([None, "a", None], pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index("twin"), "twin", twins), decisions)
    monkeypatch.setattr("data_quality.views._halves", None)
    assert write_views([documents], decisions, tmp_path / "kept", tmp_path / "dropped", (), views) == (None, None)
    assert pq.read_table(tmp_path / "dropped")["twin"].to_pylist() == ["a", None]


def test_decisions_in_another_order_are_an_error(tmp_path: Path) -> None:
    documents, decisions = write_shard(tmp_path, {"a": True, "b": False, "c": True})
    pq.write_table(pq.read_table(decisions).sort_by([("id", "descending")]), decisions)
    with pytest.raises(ValueError, match=r"decisions\.parquet: the decisions are not in the order of their ids"):
        write_views([documents], decisions, tmp_path / "kept", tmp_path / "dropped")
    assert not (tmp_path / "kept").exists()


def test_views_that_another_version_of_pyarrow_wrote_are_written_anew(
    tmp_path: Path,
) -> None:
    documents, decisions = write_shard(tmp_path, {"a": True, "b": False})
    earlier = Views(tmp_path / "kept-before", tmp_path / "dropped-before", tmp_path / "before.parquet")
    decisions.rename(earlier.decisions)
    write_views([documents], earlier.decisions, earlier.kept, earlier.dropped)
    table = pq.read_table(earlier.decisions)
    pq.write_table(table.set_column(4, "twin", pa.array([None, "a"], pa.string())), decisions)
    write_views([documents], decisions, tmp_path / "kept", tmp_path / "whole")
    written = earlier.dropped.read_bytes()
    earlier.dropped.write_bytes(written.replace(b"parquet-cpp-arrow", b"parquet-xyz-arrow"))
    write_views([documents], decisions, tmp_path / "kept", tmp_path / "dropped", (), earlier)
    assert (tmp_path / "dropped").read_bytes() == (tmp_path / "whole").read_bytes()
    assert pq.read_table(tmp_path / "dropped")["twin"].to_pylist() == ["a"]
