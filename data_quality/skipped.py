"""The table of what gave no document: one row for each record or file that was skipped, with the reason."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_quality.pii import redact
from data_quality.sources.base import BENIGN_REASONS, BadInput, Range, Skip

SKIPPED_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("line", pa.int64()),
        ("record", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
MAX_DETAIL = 500
MAX_EXAMPLES = 5


class SkippedTable:
    """skipped.parquet, written as it grows, with files `named`; raises at the first fault when told to."""

    def __init__(self, path: Path, raise_errors: bool, named: Callable[[str], str]) -> None:
        self._path, self._raise_errors, self._named = path, raise_errors, named
        self._rows: list[tuple[str, int | None, int | None, str, str]] = []
        self.reasons: Counter[str] = Counter()
        self.examples: list[str] = []

    def __enter__(self) -> Self:
        self._writer = pq.ParquetWriter(self._path, SKIPPED_SCHEMA, compression="zstd")
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, file: str, skip: Skip, range: Range | None) -> None:
        """Note a skip in ``file``, or in a range of it; messages name the file's line, the table the range's.

        Details may name the columns of a file without a header, which are its first record: no address stays in them.

        Raises :class:`BadInput` for a fault when told to.
        """
        skip = replace(skip, detail=redact(skip.detail))
        benign = skip.reason in BENIGN_REASONS
        line = skip.line
        if range is not None and line is not None:
            line = None if range.lines_before is None else line + range.lines_before
        if self._raise_errors and not benign:
            raise BadInput(file, line, skip.reason, skip.detail)  # to whoever has the file, by its own name
        file = self._named(file)
        self.reasons[skip.reason] += 1
        detail = skip.detail.encode(errors="replace").decode()[:MAX_DETAIL]
        if not benign and len(self.examples) < MAX_EXAMPLES:
            self.examples.append(str(BadInput(file, line, skip.reason, detail)))
        self._rows.append((file, skip.line, skip.record, skip.reason, detail))
        if len(self._rows) >= 10_000:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, SKIPPED_SCHEMA, strict=True)]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=SKIPPED_SCHEMA))
            self._rows = []


def read_skipped(path: Path, position: Range | None) -> pa.Table:
    """A written table with the line and record numbers of the file, where it is that of a range; held in memory."""
    table = pq.read_table(path, partitioning=None)
    if position is not None:
        for name, before in (("line", position.lines_before), ("record", position.records_before)):
            number = pa.scalar(before, pa.int64())  # null where the line is unknown, and so are those after it
            table = table.set_column(table.schema.get_field_index(name), name, pc.add(table[name], number))
    return table
