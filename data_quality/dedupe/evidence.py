"""What every dedupe step leaves behind: one schema for whole documents, one for parts, one for what is left of them.

Whole documents that go are rows of DUPLICATES_SCHEMA, parts of documents rows of SPANS_SCHEMA
(`data_quality/spans.py`), and documents of which too little is left once their parts are gone rows of LEFTOVERS_SCHEMA.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from data_quality.dedupe.exact import sql_list

DUPLICATES_SCHEMA = pa.schema(
    [
        pa.field("dropped", pa.string(), nullable=False),
        pa.field("kept", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # "url", "exact", "near"
        pa.field("jaccard", pa.float64()),  # null where it was not computed
        pa.field("family_size", pa.int64(), nullable=False),
    ]
)

LEFTOVERS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # "lines.too_little_left", "substring.too_little_left"
        pa.field("characters", pa.int64(), nullable=False),
        pa.field("left", pa.int64(), nullable=False),
    ]
)


@contextmanager
def open_database(
    temp_directory: Path, memory_limit: str, threads: int
) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """A DuckDB on disk that spills, and the directory it is in; both vanish at the end."""
    with TemporaryDirectory(prefix="dedupe-", dir=temp_directory) as name:
        directory = Path(name)
        settings = {
            "memory_limit": memory_limit,
            "threads": threads,
            "temp_directory": str(directory / "spill"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        with duckdb.connect(str(directory / "dedupe.duckdb"), config=settings) as sql:
            yield sql, directory


def parquet(paths: Sequence[Path]) -> str:
    """The SQL that reads Parquet files, in the order given."""
    return f"read_parquet({sql_list([str(path) for path in paths])})"


def create_leftovers(
    sql: duckdb.DuckDBPyConnection, reason: str, *, documents: str, min_characters: int, min_share: float
) -> dict[str, int]:
    """Create table `leftovers` (LEFTOVERS_SCHEMA): documents that lost something and have too little left.

    Args:
        sql: database with table `spans` (id, start, end), overlapping or not.
        documents: SQL that gives id, chars.

    Returns:
        Counts: edited (documents with a span), removed (their characters that spans cover), too_little_left.
    """
    sql.execute(
        """
        CREATE TABLE gone AS
        SELECT id, sum(greatest("end" - greatest("start", before), 0))::BIGINT AS gone FROM (
            SELECT id, "start", "end", coalesce(max("end") OVER (
                PARTITION BY id ORDER BY "start", "end" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
            FROM spans
        ) GROUP BY id
        """
    )
    sql.execute(
        f"""
        CREATE TABLE leftovers AS
        SELECT id, '{reason}' AS reason, chars AS characters, chars - gone AS "left"
        FROM gone JOIN ({documents}) USING (id)
        WHERE chars - gone < {min_characters} OR chars - gone < {min_share!r} * chars
        """
    )
    [counts] = sql.execute(
        "SELECT count(*), coalesce(sum(gone), 0)::BIGINT, (SELECT count(*) FROM leftovers) FROM gone"
    ).fetchall()
    return dict(zip(("edited", "removed", "too_little_left"), counts, strict=True))
