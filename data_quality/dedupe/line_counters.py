"""Which lines may stand in many documents: a quick look, after which little is left to be counted exactly.

Most lines of a corpus stand in one document. A first pass adds up lines in small counters, many lines in each; a line
whose counter stays below a number cannot stand in so many documents. Memory: 2 to 4 bytes a line, at most 256 MB, and
one row group of a table of lines.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_quality.compiled import kernel

Bools = npt.NDArray[np.bool_]
UInt64s = npt.NDArray[np.uint64]

PLACES_SCHEMA = pa.schema(
    [("id", pa.string()), ("source", pa.string()), ("hash", pa.uint64()), ("start", pa.int64()), ("end", pa.int64())]
)
HIGHEST = 255  # what a counter holds
_SLOTS_PER_LINE = 2
_MOST_SLOTS = 1 << 28


class LineCounters:
    """Counters of the lines of some tables (`lines.LINES_SCHEMA`), by source or over all."""

    def __init__(self, paths: Sequence[Path], counted: Sequence[Bools], by_source: bool) -> None:
        """Read the tables once.

        Args:
            counted: for each table which of its documents count.
            by_source: whether equal lines of two sources are two lines.
        """
        self._paths, self._counted, self._by_source = paths, counted, by_source
        self._sources: dict[str, int] = {}
        self.lines = 0  # of the documents that count
        bits = max(1, min(_MOST_SLOTS - 1, _SLOTS_PER_LINE * sum(map(_stored_lines, paths))).bit_length())
        self._shift = np.uint64(64 - bits)
        self._slots = np.zeros(1 << bits, dtype=np.uint8)
        for table in _ahead(self._tables(["source", "hashes"])):
            values, _ = _flat(table["hashes"])
            _add(self._keys(table, values), self._shift, self._slots)
            self.lines += len(values)

    def candidates(self, least: int) -> pa.RecordBatchReader:
        """The lines (id, source, hash, start, end) that may stand in `least` documents: in each document that holds
        one its first place. All that do are there, and a few more.
        """
        return pa.RecordBatchReader.from_batches(PLACES_SCHEMA, self._places(least))

    def _places(self, least: int) -> Iterator[pa.RecordBatch]:
        for table in _ahead(self._tables(["id", "source", "hashes", "starts", "ends"])):
            values, documents = _flat(table["hashes"])
            found = np.flatnonzero(_reach(self._keys(table, values), self._shift, self._slots, min(least, HIGHEST)))
            found = found[_firsts(documents[found], values[found])]
            yield from lines_at(table, found).cast(PLACES_SCHEMA).combine_chunks().to_batches()

    def _tables(self, columns: list[str]) -> Iterator[pa.Table]:
        """Row groups, without the documents that do not count."""
        for path, counted in zip(self._paths, self._counted, strict=True):
            start = 0
            for rows in row_groups(path, columns):
                wanted = counted[start : start + len(rows)]
                start += len(rows)
                yield rows if wanted.all() else rows.filter(pa.array(wanted)).combine_chunks()

    def _keys(self, table: pa.Table, hashes: UInt64s) -> UInt64s:
        """What is counted: the hash, changed by the source where sources are counted apart."""
        if not self._by_source:
            return hashes
        encoded = table["source"].combine_chunks().dictionary_encode()
        codes = np.array(
            [self._sources.setdefault(name, len(self._sources)) for name in encoded.dictionary.to_pylist()]
        )
        of_document = codes.astype(np.uint64)[encoded.indices.to_numpy()] * np.uint64(0x9E3779B97F4A7C15)
        return hashes + np.repeat(of_document, _lengths(table["hashes"]))


def _ahead(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same, each read while the one before it is counted."""
    with ThreadPoolExecutor(1, thread_name_prefix="lines") as pool:
        coming = pool.submit(next, tables, None)
        while (table := coming.result()) is not None:
            coming = pool.submit(next, tables, None)
            yield table


def row_groups(path: Path, columns: list[str]) -> Iterator[pa.Table]:
    """A table of lines, piece by piece; one that is empty gives one piece without rows."""
    with pq.ParquetFile(path) as table:
        if not table.num_row_groups:
            yield table.schema_arrow.empty_table().select(columns)
        for number in range(table.num_row_groups):
            yield table.read_row_group(number, columns=columns, use_threads=False).combine_chunks()


class Wanted:
    """Some hashes, to be met among those of many lines."""

    def __init__(self, hashes: UInt64s) -> None:
        self._hashes = np.unique(hashes)
        bits = max(6, (8 * len(self._hashes)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._slots = np.zeros(1 << bits, dtype=np.uint8)
        _add(self._hashes, self._shift, self._slots)

    def places_in(self, values: UInt64s) -> npt.NDArray[np.int64]:
        """Where in `values` one of the hashes stands."""
        if not len(self._hashes):
            return np.empty(0, dtype=np.int64)
        near = np.flatnonzero(_reach(values, self._shift, self._slots, 1))
        places = np.searchsorted(self._hashes[:-1], values[near])
        return near[self._hashes[places] == values[near]]


def occurring(path: Path, wanted: Wanted) -> tuple[UInt64s, list[str]]:
    """Which of some hashes a table of lines has, and the sources of its documents."""
    found, sources = [np.empty(0, dtype=np.uint64)], set()
    for rows in row_groups(path, ["source", "hashes"]):
        values = pc.list_flatten(rows["hashes"]).to_numpy()
        found.append(np.unique(values[wanted.places_in(values)]))
        sources.update(pc.unique(rows["source"]).to_pylist())
    return np.unique(np.concatenate(found)), sorted(sources)


def lines_at(table: pa.Table, places: npt.NDArray[np.int64]) -> pa.Table:
    """Some lines of a table, a row for each: its hash, start and end, and what else the table has of its document.

    Args:
        places: ascending, among all lines of all documents.
    """
    ends = np.cumsum(_lengths(table["hashes"]))
    documents = pa.array(np.searchsorted(ends, places, side="right"))
    lists = {"hashes": "hash", "starts": "start", "ends": "end"}
    columns = {name: table[name].take(documents) for name in table.column_names if name not in lists}
    columns |= {one: pc.list_flatten(table[many]).take(pa.array(places)) for many, one in lists.items()}
    return pa.table(columns)


def _stored_lines(path: Path) -> int:
    """How many lines a table has at most, from its metadata."""
    metadata = pq.read_metadata(path)
    column = next(n for n in range(metadata.num_columns) if metadata.schema.column(n).path.startswith("hashes"))
    return sum(metadata.row_group(n).column(column).num_values for n in range(metadata.num_row_groups))


def _lengths(lists: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return np.asarray(pc.list_value_length(lists).to_numpy(), dtype=np.int64)


def _flat(lists: pa.ChunkedArray) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """The values of all lists, and in which list each stands."""
    lengths = _lengths(lists)
    return pc.list_flatten(lists).to_numpy(), np.repeat(np.arange(len(lengths)), lengths)


def _firsts(documents: npt.NDArray[np.int64], hashes: UInt64s) -> npt.NDArray[np.int64]:
    """Where each document (ascending) has a line for the first time."""
    order = np.lexsort((hashes, documents))  # stable: equal lines stay in the order of their places
    document, line = documents[order], hashes[order]
    again = np.zeros(len(order), dtype=bool)
    again[1:] = (document[1:] == document[:-1]) & (line[1:] == line[:-1])
    return np.sort(order[~again])


@kernel
def _add(keys, shift, slots):  # type: ignore[no-untyped-def]
    """One more in the counter of every key; a full counter stays full."""
    for key in keys:
        slot = key >> shift
        if slots[slot] < 255:
            slots[slot] += np.uint8(1)


@kernel
def _reach(keys, shift, slots, least):  # type: ignore[no-untyped-def]
    """Whether the counter of each key is at least so high."""
    found = np.empty(len(keys), dtype=np.bool_)
    for i in range(len(keys)):
        found[i] = slots[keys[i] >> shift] >= least
    return found
