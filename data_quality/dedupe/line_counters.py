"""Which lines may stand in many documents: a quick look, after which little is left to be counted exactly.

Most lines of a corpus stand in one document. A first pass adds up lines in small counters, many lines in each; a line
whose counter stays below a number cannot stand in so many documents. Memory: 2 to 4 bytes a line, at most 256 MB, and
one row group of a table of lines.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_quality.compiled import kernel

Bools = npt.NDArray[np.bool_]
UInt64s = npt.NDArray[np.uint64]

T = TypeVar("T")

PLACES_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),  # the lowest of the documents of one row group that have the line
        pa.field("source", pa.string()),
        pa.field("hash", pa.uint64()),
        pa.field("start", pa.int64()),  # of its first place there
        pa.field("end", pa.int64()),
        pa.field("documents", pa.int64()),  # how many they are
    ]
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
        for table, counting in _ahead(self._tables(["source", "hashes"])):
            values, documents = _flat(table["hashes"])
            keys = self._keys(table, values)[counting[documents]]
            _add(keys, self._shift, self._slots)
            self.lines += len(keys)

    def candidates(self, least: Mapping[str, int]) -> pa.RecordBatchReader:
        """The lines that may stand in `least` documents (PLACES_SCHEMA): all that do are there, and a few more. A line
        comes once for each row group that has it; its `documents` are to be added up.

        Args:
            least: by source; over all under the name "".
        """
        return pa.RecordBatchReader.from_batches(PLACES_SCHEMA, self._places(least))

    def _places(self, least: Mapping[str, int]) -> Iterator[pa.RecordBatch]:
        for table, counting in _ahead(self._tables(["id", "source", "hashes", "starts", "ends"])):
            values, documents = _flat(table["hashes"])
            keys = self._keys(table, values)
            enough = np.where(counting, self._least(table, least), HIGHEST + 1)
            found = np.flatnonzero(_counts(keys, self._shift, self._slots) >= enough[documents])
            found = found[_firsts(documents[found], values[found])]
            places, together = _first_of_each(keys[found], _ranks(table["id"])[documents[found]])
            lines = lines_at(table, found[places]).append_column("documents", pa.array(together))
            yield from lines.select(PLACES_SCHEMA.names).cast(PLACES_SCHEMA).combine_chunks().to_batches()

    def _tables(self, columns: list[str]) -> Iterator[tuple[pa.Table, Bools]]:
        """Row groups, and which of their documents count."""
        for path, counted in zip(self._paths, self._counted, strict=True):
            start = 0
            for rows in row_groups(path, columns):
                yield rows, counted[start : start + len(rows)]
                start += len(rows)

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

    def _least(self, table: pa.Table, least: Mapping[str, int]) -> npt.NDArray[np.int64]:
        """For each document the counter that its lines must reach."""
        if not self._by_source:
            return np.full(len(table), min(least.get("", HIGHEST), HIGHEST))
        encoded = table["source"].combine_chunks().dictionary_encode()
        names = encoded.dictionary.to_pylist()  # of some no document counts
        by_code = np.array([min(least.get(name, HIGHEST), HIGHEST) for name in names], dtype=np.int64)
        return by_code[encoded.indices.to_numpy()]


def _ahead(tables: Iterator[T]) -> Iterator[T]:
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
        near = np.flatnonzero(_counts(values, self._shift, self._slots))
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


def _ranks(ids: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Which of the documents each is, in the order of their ids."""
    ranks = np.empty(len(ids), dtype=np.int64)
    ranks[pc.sort_indices(ids).to_numpy()] = np.arange(len(ids))
    return ranks


def _first_of_each(keys: UInt64s, ranks: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where each different key has its lowest rank, ascending, and how often it is there."""
    order = np.lexsort((ranks, keys))
    begins = np.flatnonzero(np.append(True, keys[order][1:] != keys[order][:-1])[: len(order)])
    lowest, often = order[begins], np.diff(np.append(begins, len(order)))
    ascending = np.argsort(lowest)
    return lowest[ascending], often[ascending]


@kernel
def _add(keys, shift, slots):  # type: ignore[no-untyped-def]
    """One more in the counter of every key; a full counter stays full."""
    for key in keys:
        slot = key >> shift
        if slots[slot] < 255:
            slots[slot] += np.uint8(1)


@kernel
def _counts(keys, shift, slots):  # type: ignore[no-untyped-def]
    """The counter of each key."""
    found = np.empty(len(keys), dtype=np.uint8)
    for i in range(len(keys)):
        found[i] = slots[keys[i] >> shift]
    return found
