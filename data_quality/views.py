"""The two views of a shard: the documents that are kept, and those that are dropped with their reasons."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_quality.documents import SCHEMA
from data_quality.hashing import text_hash
from data_quality.parquet_columns import OtherWriter, equal_columns, replace_columns
from data_quality.shards import BATCH_ROWS, whole_file, whole_parquet
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
SAID = ("reason", "reasons", "twin", "jaccard")  # of a dropped document, beside its text
DECIDES_DROPPED = ("id", "language", "spans", "redacted_metadata")  # by what of a decision text and metadata are shaped
DECIDES_KEPT = (*DECIDES_DROPPED, "edits")


@dataclass(frozen=True)
class Views:
    """The views of a shard, and the decisions by which they were written."""

    kept: Path
    dropped: Path
    decisions: Path


def write_views(
    shards: Sequence[Path],
    decisions: Path,
    kept: Path,
    dropped: Path,
    measured: Sequence[Sequence[Path]] = (),
    earlier: Views | None = None,
) -> tuple[pa.Table | None, pa.Table | None]:
    """Write the kept and the dropped of some documents, each file whole or not at all.

    Args:
        shards: one that holds the documents, or several that hold them among others.
        decisions: for every document, in the order of their ids, id, kept, reason, reasons, twin, jaccard, language
            (as identified, or as the source states it), edits (what line edits remove) and spans (start, end, kind,
            replacement). Edits and spans leave a kept text together; of a dropped one only personal data does (kinds
            `pii.*`), so that one can see what was judged. redacted_metadata, where it is not null, stands in place of
            the metadata.
        kept: out, documents schema.
        dropped: out, documents schema, the decision, and what `measured` says.
        measured: tables by id, of these documents and maybe others: each a list of files that continue each other.
        earlier: views of the same documents and `measured` by other decisions. What these have in common with
            `decisions` is taken from there; the files are the same with it and without it.

    Returns the two tables as they were written; None for one that is a copy of the earlier, or differs from it in SAID
    alone.

    Raises:
        ValueError: a document of a single shard has no decision, or one with a decision is not there, or decisions are
            in another order. Where both views are taken from the earlier, that was looked at when these were written.
    """
    if earlier and equal_columns(decisions, earlier.decisions, ("kept", *DECIDES_KEPT)):
        _copy(earlier.kept, kept)
        _write_dropped_again(earlier.dropped, _dropped(earlier.decisions), _dropped(decisions), dropped)
        return None, None
    stays, goes = _halves(decisions)
    stayed, went = _halves(earlier.decisions) if earlier else (None, None)
    same_kept, same_texts = _agree(stays, stayed, DECIDES_KEPT), _agree(goes, went, DECIDES_DROPPED)
    if earlier and same_kept:
        _copy(earlier.kept, kept)
    if earlier and same_texts:
        _write_dropped_again(earlier.dropped, went, goes, dropped)
    if same_kept and same_texts:
        return None, None
    stays_again, stays_now = (stays, stays[:0]) if same_kept else _again(stays, stayed, DECIDES_KEPT)
    goes_again, goes_now = (goes, goes[:0]) if same_texts else _again(goes, went, DECIDES_DROPPED)
    try:
        if len(shards) == 1:
            _require_equal(pq.read_table(shards[0], columns=["id"])["id"], pa.concat_tables([stays, goes])["id"])
        table = _edited(_documents(shards, pa.concat_tables([stays_now, goes_now]).sort_by("id")))
    except ValueError as error:
        error.add_note(f"by the decisions in {decisions}")
        raise
    keep = table["kept"]
    stay = table.filter(keep).select(SCHEMA.names).cast(SCHEMA)
    go = _measured(table.filter(pc.invert(keep)).select(DROPPED_SCHEMA.names).cast(DROPPED_SCHEMA), measured)
    if earlier and not same_kept and len(stays_again):
        stay = pa.concat_tables([stay, _rows(earlier.kept, stays_again)])
    if earlier and not same_texts and len(goes_again):
        go = pa.concat_tables([go, _saying(_rows(earlier.dropped, goes_again), goes_again)])
    return (
        None if same_kept else _write(stay.sort_by("id"), kept),
        None if same_texts else _write(go.sort_by("id"), dropped),
    )


def _halves(decisions: Path) -> tuple[pa.Table, pa.Table]:
    """The decisions on what is kept and on what is dropped, by id."""
    decided = pq.read_table(decisions, columns=["kept", *SAID, *DECIDES_KEPT])
    ids = decided["id"].combine_chunks()
    if not pc.all(pc.less(ids[:-1], ids[1:]), min_count=0).as_py():
        raise ValueError(f"{decisions}: the decisions are not in the order of their ids, each once")
    return decided.filter(decided["kept"]), decided.filter(pc.invert(decided["kept"]))


def _dropped(decisions: Path) -> pa.Table:
    """What is said of the documents that are dropped, in the order of the decisions."""
    decided = pq.read_table(decisions, columns=["kept", *SAID])
    return decided.filter(pc.invert(decided["kept"]))


def _agree(decided: pa.Table, before: pa.Table | None, columns: Sequence[str]) -> bool:
    return before is not None and bool(decided.select(columns).equals(before.select(columns)))


def _again(decided: pa.Table, before: pa.Table | None, columns: Sequence[str]) -> tuple[pa.Table, pa.Table]:
    """The decisions whose documents stand as they are to stand in a view written by those of `before`, and the others.

    If one of the documents in both is to stand there otherwise, all are taken for others.
    """
    if before is not None:
        there = pc.is_in(decided["id"], before["id"].combine_chunks())
        again = decided.filter(there)
        if _agree(again, before.filter(pc.is_in(before["id"], again["id"].combine_chunks())), columns):
            return again, decided.filter(pc.invert(there))
    return decided[:0], decided


def _rows(view: Path, decided: pa.Table) -> pa.Table:
    """Of an earlier view the rows of some decisions, which are sorted by id as it is."""
    rows = pq.read_table(view)
    return rows.filter(pc.is_in(rows["id"], decided["id"].combine_chunks()))


def _saying(dropped: pa.Table, goes: pa.Table) -> pa.Table:
    """Dropped documents with what is said of them by decisions, which stand in the same order."""
    for name in SAID:
        dropped = dropped.set_column(dropped.schema.get_field_index(name), DROPPED_SCHEMA.field(name), goes[name])
    return dropped


def _write(view: pa.Table, path: Path) -> pa.Table:
    with whole_parquet(path, view.schema) as writer:
        if len(view):  # `datasets` reads no file that has a row group without rows
            writer.write_table(view.combine_chunks(), row_group_size=BATCH_ROWS)
    return view


def _copy(earlier: Path, path: Path) -> None:
    with whole_file(path) as partial:
        shutil.copyfile(earlier, partial)


def _write_dropped_again(earlier: Path, went: pa.Table, goes: pa.Table, path: Path) -> None:
    """The same texts with what is said of them now."""
    if _agree(goes, went, SAID):
        _copy(earlier, path)
        return
    said = goes.select(SAID).cast(pa.schema([DROPPED_SCHEMA.field(name) for name in SAID]))
    try:
        replace_columns(earlier, said, path, BATCH_ROWS)
    except OtherWriter:  # an earlier version of pyarrow: only what is read and written again is what a full run writes
        _write(_saying(pq.read_table(earlier), goes), path)


def _documents(shards: Sequence[Path], decided: pa.Table) -> pa.Table:
    """The documents of some decisions, which are sorted by id, with the decisions beside them."""
    wanted = decided["id"].combine_chunks()
    tables = [pq.read_table(shard) if len(wanted) else pq.read_schema(shard).empty_table() for shard in shards]
    documents = pa.concat_tables(table.filter(pc.is_in(table["id"], wanted)) for table in tables).sort_by("id")
    _require_equal(documents["id"], decided["id"])
    documents = documents.drop_columns(["language"])
    for name in decided.drop_columns(["id"]).column_names:
        documents = documents.append_column(name, decided[name])
    return documents


def _require_equal(documents: pa.ChunkedArray, decided: pa.ChunkedArray) -> None:
    """Raise ValueError unless these ids are the same, in whatever order."""
    if not documents.take(pc.sort_indices(documents)).equals(decided.take(pc.sort_indices(decided))):
        lacking = sorted(set(decided.to_pylist()) ^ set(documents.to_pylist()))
        raise ValueError(f"not one decision for each document: {lacking[:3]} are only on one side")


def _measured(documents: pa.Table, measured: Sequence[Sequence[Path]]) -> pa.Table:
    """The documents with every number of the tables beside them that they have not yet, null where there is no row."""
    for paths in measured:
        names = [name for name in measured_columns(paths[0]) if name not in documents.column_names]
        tables = (pq.read_table(path, columns=["id", *names]) for path in paths)
        table = pa.concat_tables(
            table.filter(pc.is_in(table["id"], documents["id"].combine_chunks())) for table in tables
        )
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
    """The texts without what leaves them, all of a document's spans applied at once, with their new hashes; and the
    metadata without personal data."""
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
    metadata = pc.coalesce(table["redacted_metadata"], table["metadata"])
    return table.set_column(table.schema.get_field_index("metadata"), "metadata", metadata)


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
