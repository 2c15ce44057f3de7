"""What every dedupe step leaves behind: one schema for whole documents, one for parts, one for what is left of them.

Whole documents that go are rows of DUPLICATES_SCHEMA, parts of documents rows of SPANS_SCHEMA
(`data_quality/spans.py`), and documents of which too little is left once their parts are gone rows of LEFTOVERS_SCHEMA.
"""

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

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


def leftovers_among(edited: pa.Table, reason: str, *, min_characters: int, min_share: float) -> pa.Table:
    """The rows of `create_leftovers` (LEFTOVERS_SCHEMA, by id) for documents that fit in memory.

    Args:
        edited: id, characters and gone (characters that left it) of documents that lost something.
    """
    left = pc.subtract(edited["characters"], edited["gone"])
    # a quotient, since 55 of 100 are not below 0.55, but 0.55 * 100 is above 55
    share = pc.divide(left.cast(pa.float64()), edited["characters"].cast(pa.float64()))
    too_little = pc.or_(pc.less(left, min_characters), pc.less(share, min_share))
    reasons = pa.array([reason] * len(edited), pa.string())
    table = pa.table([edited["id"], reasons, edited["characters"], left], schema=LEFTOVERS_SCHEMA)
    return table.filter(too_little).sort_by("id").combine_chunks()
