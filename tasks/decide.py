"""One decision for every document, from the tables of all steps: kept or dropped, all reasons, what leaves its text.

A shard is decided by itself, from the tables that were made of it and from what the steps that look at all shards at
once (duplicates, substrings) say of its documents. So a refresh decides anew only where something changed.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from data_quality.config import StrictModel
from data_quality.hashing import combine_digests
from data_quality.signal_catalogue import edits_column
from data_quality.sql import ROW_GROUP, numbered_rows, parquet, write_rows
from tasks.pii import METADATA
from tasks.running.parts import Part, build_parts, one_table, tables_beside
from tasks.running.tables import database, rows
from tasks.stage import Work, stage
from tasks.storage.files import write_json
from tasks.store import Artifact

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

SPAN = 'STRUCT("start" BIGINT, "end" BIGINT, kind VARCHAR, replacement VARCHAR)'
INDEX = "index.parquet"
INDEX_ROWS = 20_000  # of a row group: what a look-up reads
CUT = "cut.json"  # the digests of the corpus's shards, in the order of the tables
LEFTOVERS = "leftovers.parquet"  # beside spans: documents of which too little is left
DOCUMENTS = "documents.parquet"  # beside the spans of contamination: what holds text of a benchmark


class DecideConfig(StrictModel):
    """What leaves the kept texts beside spans."""

    edits: tuple[str, ...] = Field((), description="Text versions whose line edits are made in the kept text.")


@stage(version=6)
def decide(
    work: Work,
    config: DecideConfig,
    *,
    corpus: Artifact,
    signals: Artifact,
    verdicts: Artifact,
    duplicates: list[Artifact],
    spans: list[Artifact],
    drops: list[Artifact],
) -> None:
    """Write a table of decisions for every shard of the corpus, and index.parquet (by id).

    Args:
        duplicates: artifacts with duplicates.parquet, the ones whose reason counts first in front.
        spans: artifacts whose tables are spans (SPANS_SCHEMA). Kinds `pii.*` leave kept and dropped texts, others the
            kept ones only.
        drops: artifacts that list documents to drop with their reasons.
    """
    shards = corpus.shards()
    cut = [shard.digest for shard in shards]
    measured = [tables_beside(cut, artifact) for artifact in (signals, verdicts)]
    found = [artifact for artifact in dict.fromkeys([*spans, *drops]) if artifact.shards()]
    roles = [(artifact in spans, drops.index(artifact) if artifact in drops else None) for artifact in found]
    beside = [tables_beside(cut, artifact) for artifact in found]
    with database(work.resources, work.scratch / "spill", work.scratch / "global.duckdb") as connection:
        _create_everywhere(connection, [shard.path for shard in shards], duplicates, spans, drops)
        parts = []
        for number, (digest, shard) in enumerate(zip(cut, shards, strict=True)):
            everywhere = _as_bytes(connection, number)
            tables = [of_shard[number] for of_shard in (*measured, *beside)]
            material = {
                "shard": digest,
                "edits": config.edits,
                "tables": [key for key, _ in tables],
                "roles": roles,
                "everywhere": hashlib.sha256(everywhere).hexdigest(),
            }
            found_here = [(paths, *role) for (_, paths), role in zip(tables[2:], roles, strict=True)]
            arguments = (str(shard.path), tables[0][1], tables[1][1], config.edits, found_here, everywhere)
            parts.append(Part(material, arguments))
    decided = [
        shard
        for part in build_parts(work, "decide.shard", 4, decide_part, parts, light=True)
        for shard in part.shards()
    ]
    with database(work.resources, work.scratch / "spill") as connection:
        _write_index(connection, [shard.path for shard in decided], work.directory / INDEX)
    write_json(work.directory / CUT, cut)
    work.digest = combine_digests(shard.digest for shard in decided)
    reasons = rows(
        "SELECT coalesce(reason, 'kept') AS first_reason, count(*) AS documents FROM read_parquet(?) "
        "GROUP BY ALL ORDER BY documents DESC, first_reason",
        [[str(shard.path) for shard in decided]],
        work,
    )
    work.table("reasons", reasons, "Documents dropped, by the first reason")


def hash_of(id: str) -> int:
    """What DuckDB's `md5_number_lower` says of an id: by it the index is sorted."""
    return int.from_bytes(hashlib.md5(id.encode(), usedforsecurity=False).digest()[8:], "little")


def _create_everywhere(
    connection: "duckdb.DuckDBPyConnection",
    documents: Sequence[Path],
    duplicates: Sequence[Artifact],
    spans: Sequence[Artifact],
    drops: Sequence[Artifact],
) -> None:
    """Create the table of what is said by steps whose tables are those of the whole corpus, shard by shard.

    Of a document that several steps drop as a duplicate, twin and jaccard are the first's.
    """
    twins = [
        f"SELECT dropped AS id, 'duplicate.' || kind AS reason, kept, jaccard, {step} AS step "
        f"FROM {parquet([artifact.file('duplicates.parquet')])}"
        for step, artifact in enumerate(duplicates)
    ]
    cuts = [_spans([artifact.file("spans.parquet")]) for artifact in spans if not artifact.shards()]
    gone = [
        _leftovers([artifact.file(LEFTOVERS)], step) for step, artifact in enumerate(drops) if not artifact.shards()
    ]
    connection.execute(
        f"""
        CREATE OR REPLACE TABLE everywhere AS
        WITH twins AS (
                 SELECT id, list(reason ORDER BY step) AS reasons, arg_min(kept, step) AS twin,
                        arg_min_null(jaccard, step) AS jaccard
                 FROM ({" UNION ALL ".join(twins) or _NO_TWINS}) GROUP BY id
             ),
             spans AS (SELECT id, list(span ORDER BY span) AS spans FROM ({_union(cuts, _NO_SPANS)}) GROUP BY id),
             drops AS (
                 SELECT id, list(struct_pack(step, reasons) ORDER BY step) AS drops
                 FROM ({_union(gone, _NO_DROPS)}) GROUP BY id
             ),
             said AS (FROM twins FULL JOIN spans USING (id) FULL JOIN drops USING (id))
        SELECT h.file_index::INTEGER AS shard, said.* FROM {numbered_rows(documents)} h
        JOIN said ON said.id = h.id ORDER BY shard, said.id
        """
    )


def _as_bytes(connection: "duckdb.DuckDBPyConnection", shard: int) -> bytes:
    """What is said so of one shard, as a Parquet file: equal for equal content, and on its way to any machine."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    said = connection.sql(f"SELECT * EXCLUDE shard FROM everywhere WHERE shard = {shard} ORDER BY id")
    sink = pa.BufferOutputStream()
    pq.write_table(said.to_arrow_reader().read_all().combine_chunks(), sink, compression="zstd")
    return bytes(sink.getvalue())


def decide_part(
    directory: Path,
    documents: str,
    signals: Sequence[str],
    verdicts: Sequence[str],
    edits: Sequence[str],
    found: Sequence[tuple[Sequence[str], bool, int | None]],
    everywhere: bytes,
) -> dict[str, Any]:
    """One shard, in a worker (`data_quality.decisions`).

    Args:
        signals, verdicts: tables that have the documents, and maybe others.
        found: the same, of each step: its tables, whether they are spans, and its place among those that drop documents
            (what they say of these stands in a table beside).
        everywhere: as `_as_bytes` gives it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from data_quality.decisions import DICTIONARY_COLUMNS
    from data_quality.decisions import decide as decide_shard
    from data_quality.shards import whole_parquet

    tables = [([Path(path) for path in paths], is_spans, step) for paths, is_spans, step in found]
    beside = (path.with_name(METADATA) for paths, _, _ in tables for path in paths)
    decided = decide_shard(
        Path(documents),
        [Path(path) for path in verdicts],
        [Path(path) for path in signals],
        edits=[edits_column(text) for text in edits],
        spans=[path for paths, is_spans, _ in tables if is_spans for path in paths],
        drops=[(step, table) for paths, _, step in tables if step is not None for table in _dropped(paths)],
        everywhere=pq.read_table(pa.BufferReader(everywhere)),
        metadata=[path for path in beside if path.exists()],
    )
    out = directory / "decisions.parquet"
    with whole_parquet(out, decided.schema, use_dictionary=DICTIONARY_COLUMNS) as writer:
        writer.write_table(decided, row_group_size=ROW_GROUP)
    return one_table(out, {"documents": len(decided), "kept": decided["kept"].to_pylist().count(True)})


def _dropped(spans: Sequence[Path]) -> "Iterator[pa.Table]":
    """The documents (id, reasons) that a step drops otherwise than as duplicates: tables beside its spans."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not spans[0].with_name(LEFTOVERS).exists():
        yield from (pq.read_table(path.with_name(DOCUMENTS), columns=["id", "reasons"]) for path in spans)
        return
    for path in spans:
        left = pq.read_table(path.with_name(LEFTOVERS), columns=["id", "reason"])
        reasons = pa.array([[reason] for reason in left["reason"].to_pylist()], pa.list_(pa.string()))
        yield pa.table({"id": left["id"], "reasons": reasons})


_NO_TWINS = "SELECT ''::VARCHAR AS id, '' AS reason, '' AS kept, 0.0::DOUBLE AS jaccard, 0 AS step WHERE false"
_NO_SPANS = f"SELECT ''::VARCHAR AS id, NULL::{SPAN} AS span WHERE false"
_NO_DROPS = "SELECT ''::VARCHAR AS id, []::VARCHAR[] AS reasons, 0 AS step WHERE false"


def _union(queries: Sequence[str], otherwise: str = "") -> str:
    return " UNION ALL ".join(queries) or otherwise


def _spans(tables: Sequence[Path]) -> str:
    """id and span of every span."""
    span = 'struct_pack("start" := "start", "end" := "end", kind := kind, replacement := replacement)'
    return f"SELECT id, {span}::{SPAN} AS span FROM {parquet(tables)}"


def _leftovers(tables: Sequence[Path], step: int) -> str:
    return f"SELECT id, [reason] AS reasons, {step} AS step FROM {parquet(tables)}"


def _write_index(connection: "duckdb.DuckDBPyConnection", tables: Sequence[Path], out: Path) -> None:
    """Where each document stands: the hash of its id and the number of its shard, in the order of the hashes.

    One id among ten million is then found in one row group of one file, whatever the ids look like.
    """
    places = connection.sql(
        f"""
        SELECT md5_number_lower(id) AS hash, file_index::INTEGER AS shard FROM {numbered_rows(tables)}
        ORDER BY hash, shard
        """
    )
    write_rows(places, None, out, INDEX_ROWS, use_dictionary=False)
