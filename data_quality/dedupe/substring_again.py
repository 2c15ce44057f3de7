"""Refreshing the spans of exact substrings: what of an earlier result still stands, and what is solved again.

A run may keep its state beside its spans: `prints.parquet` (who took part, with a print of what their rank and text
depend on) and `runs.parquet` (the repeated windows of each, those in a row with copies in a row together, and where the
first copies are). A later run with the same config takes them as a hint.

A document is *fresh* if it is new or its print has changed; all others *stand*, in the order in which they stood. Of a
window in a standing document the first copy can be another one now only if a fresh document has the window, or if the
first copy was in a document that stands no more. So these windows are marked, and their copies looked for in all
documents (`repeats.Changed`): one look at a bit for each window of the corpus. Everything else that was a hit is one
still. Documents with a changed hit are matched, cut and compared anew; the spans of the others are copied. The files
that come out are, byte for byte, those of a run without the hint.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import SubstringConfig
from data_quality.damaged import reading
from data_quality.dedupe.marks import Marks
from data_quality.dedupe.repeats import Changed
from data_quality.dedupe.windows import made_with, read_windows
from data_quality.sql import parquet, single_row, write_rows

STATE_KEY = b"textmill.substring"
STATE_VERSION = 3  # raise it when prints, runs or spans come to mean something else, or what a token is
PRINTS, RUNS, SPANS = "prints.parquet", "runs.parquet", "spans.parquet"

PRINTS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("print", pa.uint64(), nullable=False),
        pa.field("matches", pa.int64(), nullable=False),
    ]
)
RUNS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),  # the first and the last window, by their first tokens
        pa.field("last", pa.int64(), nullable=False),
        pa.field("other", pa.string(), nullable=False),
        pa.field("other_start", pa.int64(), nullable=False),
    ]
)
PRINT = "md5_number_lower(concat_ws(chr(31), text_hash, source))::UBIGINT"
"""SQL: 64 bits that change when anything changes that a document's rank or spans depend on."""


def begin_again(
    sql: duckdb.DuckDBPyConnection, window_paths: Sequence[Path], previous: Path, config: SubstringConfig
) -> Changed | None:
    """Find what must be solved again; None if the hint is of no use (another config, most documents to be solved).

    Creates tables `standing` (rank, id, matches), `held` (rank, start, last, other, other_start: the earlier runs of
    standing documents; `other` is a rank, null if that document stands no more) and `marked` (file, row, start, end:
    whose windows are marked).

    Raises:
        DamagedFile: the earlier state cannot be read.
    """
    if not all((previous / name).exists() for name in (PRINTS, RUNS, SPANS)):
        return None
    for path in (previous / PRINTS, previous / RUNS):
        with reading(path):
            metadata = pq.read_schema(path).metadata or {}
        if metadata.get(STATE_KEY) != _state_metadata(config)[STATE_KEY]:
            return None
    sql.execute(
        f"""
        CREATE OR REPLACE TABLE standing AS
        SELECT rank, id, matches FROM documents JOIN {parquet([previous / PRINTS])} USING (id, print)
        """
    )
    sql.execute(
        f"""
        CREATE OR REPLACE TABLE held AS
        SELECT s.rank, "start", last, o.rank AS other, other_start
        FROM {parquet([previous / RUNS])} JOIN standing s USING (id) LEFT JOIN standing o ON o.id = other
        """
    )
    [documents] = single_row(sql, "SELECT count(*) FROM documents")
    fresh, solved = np.ones(documents, dtype=bool), np.zeros(documents, dtype=bool)
    fresh[sql.execute("SELECT rank FROM standing").fetchnumpy()["rank"]] = False
    solved[sql.execute("SELECT rank FROM held WHERE other IS NULL").fetchnumpy()["rank"]] = True
    solved |= fresh
    if 2 * int(solved.sum()) > documents:
        return None
    return Changed(_marked(sql, window_paths, config.group_bytes), fresh, solved)


def _marked(sql: duckdb.DuckDBPyConnection, window_paths: Sequence[Path], most_bytes: int) -> Marks:
    """The windows of fresh documents, and those of others whose first copy is gone."""
    sql.execute(
        """
        CREATE OR REPLACE TABLE marked AS
        SELECT file, row, 0 AS "start", windows AS "end" FROM documents ANTI JOIN standing USING (rank)
        UNION ALL SELECT file, row, "start", last + 1 FROM held JOIN documents USING (rank) WHERE other IS NULL
        """
    )
    [number] = single_row(sql, 'SELECT coalesce(sum("end" - "start"), 0)::BIGINT FROM marked')
    marks = Marks(number, most_bytes)
    for table, path in enumerate(window_paths):
        found = sql.execute(f'SELECT row, "start", "end" FROM marked WHERE file = {table} ORDER BY ALL')
        rows, starts, ends = (np.asarray(column) for column in found.fetchnumpy().values())
        if not len(rows):
            continue
        hashes, offsets = read_windows(path)
        for row, start, end in zip(rows, starts, ends, strict=True):
            marks.add(hashes[offsets[row] + start : offsets[row] + end])
    return marks


def carry_hits(sql: duckdb.DuckDBPyConnection) -> int:
    """Make table `hits` whole for the documents that are solved again; create table `carried` (rank) of the others and
    return how many these are.

    A hit whose first copy stands is one still, unless a fresh document has an earlier copy: then it was found again.
    """
    sql.execute(
        """
        CREATE OR REPLACE TABLE carried AS
        SELECT rank FROM standing
        ANTI JOIN (SELECT DISTINCT rank FROM hits UNION SELECT rank FROM held WHERE other IS NULL) USING (rank)
        """
    )
    sql.execute(
        """
        INSERT INTO hits SELECT rank, place, first FROM (
            SELECT rank, unnest(range("start", last + 1)) AS place,
                   (other::UBIGINT << 32) + (other_start + place - "start")::UBIGINT AS first
            FROM held ANTI JOIN carried USING (rank) WHERE other IS NOT NULL
        ) ANTI JOIN hits USING (rank, place)
        """
    )
    [carried] = single_row(sql, "SELECT count(*) FROM carried")
    return int(carried)


def carry_spans(sql: duckdb.DuckDBPyConnection, previous: Path) -> None:
    """Add what stands of the earlier result to tables `runs`, `matched` and `spans`."""
    sql.execute(
        """
        INSERT INTO runs SELECT rank, "start", last, (other::UBIGINT << 32) + other_start::UBIGINT
        FROM held SEMI JOIN carried USING (rank)
        """
    )
    sql.execute(
        "INSERT INTO matched SELECT rank, matches FROM standing SEMI JOIN carried USING (rank) WHERE matches > 0"
    )
    sql.execute(
        f"""
        INSERT INTO spans BY NAME FROM {parquet([previous / SPANS])}
        SEMI JOIN (FROM standing SEMI JOIN carried USING (rank)) USING (id)
        """
    )


def drop_state(directory: Path) -> None:
    """Remove what says that there is a state: it is that of the spans that are about to be replaced."""
    (directory / PRINTS).unlink(missing_ok=True)


def write_state(sql: duckdb.DuckDBPyConnection, directory: Path, config: SubstringConfig) -> None:
    """Write what a later run can go on from; last the table without which there is no state."""
    metadata = _state_metadata(config)
    runs = sql.sql(
        """
        SELECT d.id, "start", last, o.id AS other, (first & 4294967295)::BIGINT AS other_start
        FROM runs JOIN documents d ON d.rank = runs.rank JOIN documents o ON o.rank = first >> 32
        ORDER BY d.id, "start"
        """
    )
    write_rows(runs, RUNS_SCHEMA.with_metadata(metadata), directory / RUNS)
    documents = sql.sql(
        "SELECT id, print, coalesce(matches, 0) AS matches FROM documents LEFT JOIN matched USING (rank) ORDER BY id"
    )
    write_rows(documents, PRINTS_SCHEMA.with_metadata(metadata), directory / PRINTS)


def _state_metadata(config: SubstringConfig) -> dict[bytes, bytes]:
    """What an earlier state must have been made with to be a hint."""
    made = [STATE_VERSION, config.key_material(), made_with(config.window)]
    return {STATE_KEY: json.dumps(made, sort_keys=True).encode()}
