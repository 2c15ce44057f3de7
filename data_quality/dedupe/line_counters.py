"""Which lines may stand in many documents: a quick look, after which little is left to be counted exactly.

Most lines of a corpus stand in one document. A first pass adds up lines in small counters, many lines in each; a line
whose counter stays below a number cannot stand in so many documents. Memory: 8 to 16 bytes a line, at most 256 MB, and
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
_SLOTS_PER_LINE = 8
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
            rows = pa.array(documents[found])
            columns = [table[name].take(rows).combine_chunks() for name in ("id", "source")]
            columns.append(pa.array(values[found]))
            columns += [pa.array(_flat(table[name])[0][found]) for name in ("starts", "ends")]
            yield pa.record_batch(columns, schema=PLACES_SCHEMA)

    def _tables(self, columns: list[str]) -> Iterator[pa.Table]:
        """Row groups, without the documents that do not count."""
        for path, counted in zip(self._paths, self._counted, strict=True):
            start = 0
            with pq.ParquetFile(path) as table:
                for number in range(table.num_row_groups):
                    rows = table.read_row_group(number, columns=columns, use_threads=False)
                    wanted = counted[start : start + len(rows)]
                    start += len(rows)
                    yield (rows if wanted.all() else rows.filter(pa.array(wanted))).combine_chunks()

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


def occurring(path: Path, wanted: UInt64s) -> tuple[UInt64s, list[str]]:
    """Which of some hashes a table of lines has, and the sources of its documents."""
    bits = max(6, int(_SLOTS_PER_LINE * len(wanted)).bit_length())
    shift = np.uint64(64 - bits)
    slots = np.zeros(1 << bits, dtype=np.uint8)
    _add(wanted, shift, slots)
    found, sources = [np.empty(0, dtype=np.uint64)], set()
    with pq.ParquetFile(path) as table:
        for number in range(table.num_row_groups):
            rows = table.read_row_group(number, columns=["source", "hashes"], use_threads=False).combine_chunks()
            values = pc.list_flatten(rows["hashes"]).to_numpy()
            found.append(np.unique(values[_reach(values, shift, slots, 1)]))
            sources.update(pc.unique(rows["source"]).to_pylist())
    return np.intersect1d(np.concatenate(found), wanted), sorted(sources)


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
