"""One decision for every document of a shard, from what all steps say of it.

In columns, looked up by id: a query with seven joins takes 1.7 times as long (docs/results/refresh.md), and a refresh
decides half of all shards again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Int64s = npt.NDArray[np.int64]

REASONS = pa.list_(pa.string())
SPAN = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("kind", pa.string()), ("replacement", pa.string())])
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("kept", pa.bool_()),
        ("reason", pa.string()),  # the first
        ("reasons", REASONS),
        ("twin", pa.string()),
        ("jaccard", pa.float64()),
        ("language", pa.string()),
        ("edits", pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32())]))),
        ("spans", pa.list_(SPAN)),
        ("redacted_metadata", pa.string()),  # what replaces the metadata; null: nothing does
        ("span_counts", pa.map_(pa.string(), pa.int64())),  # by kind
    ]
)
DICTIONARY_COLUMNS = (
    "reason",
    "reasons.list.element",
    "twin",
    "language",
    "spans.list.element.kind",
    "spans.list.element.replacement",
    "span_counts.key_value.key",
)
"""The columns of a file that get a dictionary: one of places is as large as these are, and takes as long again."""

PERSONAL = "pii."  # how the kinds of spans begin that leave dropped texts, too


def decide(
    documents: Path,
    verdicts: Sequence[Path],
    signals: Sequence[Path],
    *,
    edits: Sequence[str],
    spans: Sequence[Path],
    drops: Sequence[tuple[int, pa.Table]],
    everywhere: pa.Table,
    metadata: Sequence[Path],
) -> pa.Table:
    """The decisions (SCHEMA, by id) on the documents of a shard that have a verdict and signals.

    Reasons come in the order lists and rules, duplicates, drops; the first is `reason`. A document that the keep-list
    names stays whatever else is said. Of a dropped one only personal data leaves the text: other spans are none of its
    decision, which need not change with them.

    Args:
        verdicts, signals, spans, metadata: tables that have these documents, and maybe others.
        edits: columns of signals, of what line edits remove.
        drops: further documents to drop (id, reasons), with the place of each step among those that drop.
        everywhere: what steps say that look at all shards at once (id, reasons, twin, jaccard, spans, drops).
    """
    ids = pq.read_table(documents, columns=["id"])["id"].combine_chunks()
    ids = ids.take(pc.sort_indices(ids))
    verdict = _rows(verdicts, ["id", "reasons", "listed"], ids)
    signal = _rows(signals, ["id", "language", *edits], ids)
    known = pc.and_(pc.is_valid(verdict["id"]), pc.is_valid(signal["id"]))
    ids, verdict, signal = ids.filter(known), verdict.filter(known), signal.filter(known)
    said = everywhere.take(pc.index_in(ids, everywhere["id"].combine_chunks()))
    stays = pc.fill_null(pc.equal(verdict["listed"], "keep"), False)
    reasons = _joined([verdict["reasons"], said["reasons"], _dropped(ids, drops, everywhere)], REASONS, len(ids))
    kept = pc.or_(stays, pc.equal(pc.list_value_length(reasons), 0))
    leaving = _leaving(ids, kept, spans, everywhere)
    return pa.table(
        [
            ids,
            kept,
            pc.if_else(stays, None, _first(reasons)),
            reasons,
            said["twin"],
            said["jaccard"],
            signal["language"],
            _joined([signal[column] for column in edits], SCHEMA.field("edits").type, len(ids)),
            _lists(leaving["row"], leaving.drop_columns(["row"]).to_struct_array(), len(ids)),
            _rows(metadata, ["id", "metadata"], ids)["metadata"] if metadata else pa.nulls(len(ids), pa.string()),
            _counts(leaving, len(ids)),
        ],
        schema=SCHEMA,
    )


def _rows(paths: Sequence[Path], columns: Sequence[str], ids: pa.Array) -> pa.Table:
    """For each id its row of some tables; nulls where none has it."""
    table = pa.concat_tables(pq.read_table(path, columns=list(columns)) for path in paths)
    return table.take(pc.index_in(ids, table["id"].combine_chunks()))


def _of(ids: pa.Array, table: pa.Table) -> pa.Table:
    """The rows of a table that are about some ids, and which of these each is about."""
    rows = pc.index_in(table["id"], ids)
    return table.append_column("row", rows).filter(pc.is_valid(rows))


def _dropped(ids: pa.Array, drops: Sequence[tuple[int, pa.Table]], everywhere: pa.Table) -> pa.Array:
    """For each id the reasons of the steps that drop it otherwise than as a duplicate, in the order of the steps."""
    said = everywhere.select(["id", "drops"]).filter(pc.greater(pc.list_value_length(everywhere["drops"]), 0))
    flat = pc.list_flatten(said["drops"])
    columns = {name: pc.struct_field(flat, name) for name in ("step", "reasons")}
    schema = pa.schema([("id", pa.string()), ("step", pa.int32()), ("reasons", REASONS)])
    found = [pa.table({"id": said["id"].take(pc.list_parent_indices(said["drops"])), **columns}).cast(schema)]
    for step, table in drops:
        steps = pa.array([step] * len(table), pa.int32())
        found.append(pa.table({"id": table["id"], "step": steps, "reasons": table["reasons"]}).cast(schema))
    rows = _of(ids, pa.concat_tables(found)).sort_by([("row", "ascending"), ("step", "ascending")])
    parents = pc.list_parent_indices(rows["reasons"])
    return _lists(rows["row"].take(parents), pc.list_flatten(rows["reasons"]), len(ids))


def _leaving(ids: pa.Array, kept: pa.ChunkedArray, spans: Sequence[Path], everywhere: pa.Table) -> pa.Table:
    """What leaves the texts (row of the document, fields of SPAN), in order."""
    names = [field.name for field in SPAN]
    said = everywhere.select(["id", "spans"]).filter(pc.greater(pc.list_value_length(everywhere["spans"]), 0))
    flat = pc.list_flatten(said["spans"])
    columns = {name: pc.struct_field(flat, name) for name in names}
    schema = pa.schema([("id", pa.string()), *SPAN])
    found = [pa.table({"id": said["id"].take(pc.list_parent_indices(said["spans"])), **columns}).cast(schema)]
    found += [pq.read_table(path, columns=schema.names).cast(schema) for path in spans]
    rows = _of(ids, pa.concat_tables(found))
    leaves = pc.or_(kept.combine_chunks().take(rows["row"]), pc.starts_with(rows["kind"], PERSONAL))
    return rows.filter(leaves).sort_by([(name, "ascending") for name in ("row", *names)]).select(["row", *names])


def _counts(leaving: pa.Table, length: int) -> pa.Array:
    """For each document the number of its spans by kind."""
    counted = leaving.group_by(["row", "kind"]).aggregate([([], "count_all")])
    counted = counted.sort_by([("row", "ascending"), ("kind", "ascending")])
    offsets = _offsets(counted["row"], length)
    kinds, numbers = counted["kind"].combine_chunks(), counted["count_all"].combine_chunks()
    return pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), kinds, numbers)


def _first(lists: pa.Array) -> pa.Array:
    """The first item of each list, null of an empty one."""
    offsets, filled = lists.offsets.to_numpy(), pc.greater(pc.list_value_length(lists), 0)
    return lists.values.take(pc.if_else(filled, pa.array(offsets[:-1]), None))


def _lists(rows: Any, values: Any, length: int) -> pa.Array:
    """For each row, of so many, the list of its values; `rows` ascend."""
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return pa.ListArray.from_arrays(pa.array(_offsets(rows, length), pa.int32()), values)


def _offsets(rows: Any, length: int) -> Int64s:
    return np.searchsorted(np.asarray(rows), np.arange(length + 1))


def _joined(columns: Sequence[Any], kind: pa.DataType, length: int) -> pa.Array:
    """For each row the lists of all columns behind each other; null is empty."""
    if not columns:
        return pa.array([[]] * length, kind)
    whole = [column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column for column in columns]
    rows = np.concatenate([pc.list_parent_indices(column).to_numpy() for column in whole])
    values = pa.chunked_array([pc.list_flatten(column).cast(kind.value_type) for column in whole], kind.value_type)
    order = np.argsort(rows, kind="stable")  # so that in each row the first column's come first
    return _lists(rows[order], values.take(pa.array(order)), length)
