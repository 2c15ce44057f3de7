"""The two views of a shard: the documents that are kept, and those that are dropped with their reasons."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_quality.documents import SCHEMA
from data_quality.hashing import text_hash
from data_quality.shards import BATCH_ROWS, whole_parquet
from data_quality.spans import Edit, apply_edits, merge_edits

DROPPED_SCHEMA = pa.schema(
    [
        *SCHEMA,
        pa.field("reason", pa.string(), nullable=False),
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
        pa.field("twin", pa.string()),
        pa.field("jaccard", pa.float64()),
    ]
)


WORDS = ("script", "perplexity_bucket")  # of the columns with words in tables of numbers, those that are measured


def write_views(
    shards: Sequence[Path],
    decisions: Path,
    kept: Path,
    dropped: Path,
    measured: Sequence[Sequence[Path]] = (),
) -> tuple[pa.Table, pa.Table]:
    """Write the kept and the dropped of some documents, each file whole or not at all.

    Args:
        shards: one that holds the documents, or several that hold them among others.
        decisions: for every document id, kept, reason, reasons, twin, jaccard, language (as identified, or
            as the source states it), edits (what line edits remove) and spans (start, end, kind, replacement). Edits
            and spans leave a kept text together; of a dropped one only personal data does (kinds `pii.*`), so that one
            can see what was judged. redacted_metadata, where it is not null, stands in place of the metadata.
        kept: out, documents schema.
        dropped: out, documents schema, the decision, and what `measured` says.
        measured: tables by id, of these documents and maybe others: each a list of files that continue each other.

    Returns the two tables as they were written.

    Raises:
        ValueError: a document of a single shard has no decision, or one with a decision is not there.
    """
    documents = _documents(shards, decisions).sort_by("id")
    columns = ["kept", "reason", "reasons", "twin", "jaccard", "language", "edits", "spans", "redacted_metadata"]
    table = _edited(_beside(documents.drop_columns(["language"]), decisions, columns))
    metadata = pc.coalesce(table["redacted_metadata"], table["metadata"])
    table = table.set_column(table.schema.get_field_index("metadata"), "metadata", metadata)
    keep = table["kept"]
    gone = table.filter(pc.invert(keep)).select(DROPPED_SCHEMA.names).cast(DROPPED_SCHEMA)
    for paths in measured:
        gone = _measured(gone, paths)
    views = table.filter(keep).select(SCHEMA.names).cast(SCHEMA), gone
    for view, path in zip(views, (kept, dropped), strict=True):
        with whole_parquet(path, view.schema) as writer:
            writer.write_table(view, row_group_size=BATCH_ROWS)
    return views


def _documents(shards: Sequence[Path], decisions: Path) -> pa.Table:
    if len(shards) == 1:
        return pq.read_table(shards[0])
    wanted = pq.read_table(decisions, columns=["id"])["id"].combine_chunks()
    tables = (pq.read_table(shard) for shard in shards)
    return pa.concat_tables([table.filter(pc.is_in(table["id"], wanted)) for table in tables])


def _beside(documents: pa.Table, path: Path, columns: list[str]) -> pa.Table:
    """The documents, sorted by id, with columns of a table that has one row for each of them."""
    table = pq.read_table(path, columns=["id", *columns]).sort_by("id")
    if not table["id"].equals(documents["id"]):
        lacking = sorted(set(documents["id"].to_pylist()) ^ set(table["id"].to_pylist()))
        raise ValueError(f"{path} has not one row for each document: {lacking[:3]} are only on one side")
    for name in columns:
        documents = documents.append_column(name, table[name])
    return documents


def _measured(documents: pa.Table, paths: Sequence[Path]) -> pa.Table:
    """The documents with every number of a table beside them that they have not yet, null where it has no row."""
    names = [name for name in measured_columns(paths[0]) if name not in documents.column_names]
    tables = (pq.read_table(path, columns=["id", *names]) for path in paths)
    table = pa.concat_tables(table.filter(pc.is_in(table["id"], documents["id"].combine_chunks())) for table in tables)
    places = pc.index_in(documents["id"], table["id"].combine_chunks())
    for name in names:
        documents = documents.append_column(name, table[name].take(places))
    return documents


def measured_columns(table: Path) -> list[str]:
    """What is measured in a table by id: its numbers, and a few words that say as much."""
    return [field.name for field in pq.read_schema(table) if _is_number(field.type) or field.name in WORDS]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _edited(table: pa.Table) -> pa.Table:
    """The texts without what leaves them, all of a document's spans applied at once, with their new hashes."""
    edited = pc.or_(_is_filled(table["edits"]), _is_filled(table["spans"]))
    rows = table.filter(edited)
    columns = [rows[name].to_pylist() for name in ("id", "text", "kept")]
    edits = _structs(rows["edits"], ["start", "end"])
    spans = _structs(rows["spans"], ["kind", "start", "end", "replacement"])
    texts = [_edited_text(*row) for row in zip(*columns, edits, spans, strict=True)]
    for name, values in (("text", texts), ("text_hash", [text_hash(text) for text in texts])):
        replaced = pc.replace_with_mask(
            table[name].combine_chunks(), edited.combine_chunks(), pa.array(values, pa.string())
        )
        table = table.set_column(table.schema.get_field_index(name), name, replaced)
    return table


def _is_filled(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.greater(pc.list_value_length(lists), 0), False)


def _structs(lists: pa.ChunkedArray, names: Sequence[str]) -> Iterator[list[Any]]:
    """Some fields of the structs of each list, as tuples: in a third of the time that dicts take."""
    flat = pc.list_flatten(lists)
    structs = list(zip(*(pc.struct_field(flat, name).to_pylist() for name in names), strict=True))
    start = 0
    for length in pc.fill_null(pc.list_value_length(lists), 0).to_pylist():
        yield structs[start : start + length]
        start += length


def _edited_text(
    id: str, text: str, kept: bool, edits: Sequence[tuple[int, int]], spans: Sequence[tuple[str, int, int, str]]
) -> str:
    leaving = [Edit(start, end, put) for kind, start, end, put in spans if kept or kind.startswith("pii.")]
    if kept:
        leaving += [Edit(start, end) for start, end in edits]
    try:
        return apply_edits(text, merge_edits(leaving))
    except ValueError as error:
        error.add_note(f"in document {id!r}")
        raise
