"""One decision for every document, from the tables of all steps: kept or dropped, all reasons, what leaves its text."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import duckdb
from pydantic import Field

from data_quality.config import StrictModel
from data_quality.hashing import combine_digests
from data_quality.signal_catalogue import edits_column
from data_quality.sql import numbered_rows, parquet, sql_list, write_rows
from tasks.files import write_json
from tasks.parts import one_table
from tasks.pii import METADATA, pii
from tasks.stage import Work, stage
from tasks.store import Artifact, Shard
from tasks.tables import database, rows

SPAN = 'STRUCT("start" BIGINT, "end" BIGINT, kind VARCHAR, replacement VARCHAR)'
INDEX = "index.parquet"
INDEX_ROWS = 20_000  # of a row group: what a look-up reads
CUT = "cut.json"  # the digests of the corpus's shards, in the order of the tables


class DecideConfig(StrictModel):
    """What leaves the kept texts beside spans."""

    edits: tuple[str, ...] = Field((), description="Text versions whose line edits are made in the kept text.")


@stage(version=2)
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
    """Write one table of decisions for every shard of the corpus, and index.parquet (by id).

    Args:
        duplicates: artifacts with duplicates.parquet, the ones whose reason counts first in front.
        spans: artifacts whose tables are spans (SPANS_SCHEMA). Kinds `pii.*` leave kept and dropped texts, others the
            kept ones only.
        drops: artifacts that list documents to drop with their reasons.
    """
    shards = corpus.shards()
    tables = [work.directory / f"{number:05d}.parquet" for number in range(len(shards))]
    for leftover in work.directory.glob("*.parquet"):  # of a build that was killed, whose corpus may be cut otherwise
        leftover.unlink()
    advance = work.progress.start(len(shards), "shards")
    with database(work.resources, work.scratch / "spill", work.scratch / "decisions.duckdb") as connection:
        _decide(connection, shards, verdicts, duplicates, signals, config.edits, spans, drops)
        for number, (shard, out) in enumerate(zip(shards, tables, strict=True)):
            here = connection.sql(f"SELECT * EXCLUDE shard FROM decisions WHERE shard = {number} ORDER BY id")
            write_rows(here, None, out)
            work.shards += one_table(out, {"documents": shard.counts["documents"]})["shards"]
            advance(1)
        [[documents, kept]] = connection.sql("SELECT count(*), count(*) FILTER (kept) FROM decisions").fetchall()
        _write_index(connection, tables, work.directory / INDEX)
    write_json(work.directory / CUT, [shard.digest for shard in shards])
    work.digest = combine_digests(shard["digest"] for shard in work.shards)
    work.counts |= {"documents": documents, "kept": kept}
    reasons = rows(
        "SELECT coalesce(reason, 'kept') AS first_reason, count(*) AS documents FROM read_parquet(?) "
        "GROUP BY ALL ORDER BY documents DESC, first_reason",
        [list(map(str, tables))],
        work,
    )
    work.table("reasons", reasons, "Documents dropped, by the first reason")


def hash_of(id: str) -> int:
    """What DuckDB's `md5_number_lower` says of an id: by it the index is sorted."""
    return int.from_bytes(hashlib.md5(id.encode(), usedforsecurity=False).digest()[8:], "little")


def _write_index(connection: duckdb.DuckDBPyConnection, tables: Sequence[Path], out: Path) -> None:
    """Where each document stands: the hash of its id and the number of its shard, in the order of the hashes.

    One id among ten million is then found in one row group of one file, whatever the ids look like.
    """
    places = connection.sql(
        f"""
        SELECT md5_number_lower(id) AS hash, parse_filename(filename, true)::INTEGER AS shard
        FROM read_parquet({sql_list([str(table) for table in tables])}, filename = true) ORDER BY hash, shard
        """
    )
    write_rows(places, None, out, INDEX_ROWS)


def _decide(
    connection: duckdb.DuckDBPyConnection,
    shards: Sequence[Shard],
    verdicts: Artifact,
    duplicates: list[Artifact],
    signals: Artifact,
    versions: tuple[str, ...],
    spans: list[Artifact],
    drops: list[Artifact],
) -> None:
    """Create the table of decisions: dropped, or kept; why, by all reasons; its language; which spans leave the text.

    Reasons come in the order lists and rules, duplicates, drops; the first is `reason`. A document that the keep-list
    names stays whatever else is said. Spans are found by document id: the same documents may be cut into other shards
    where they were measured. `span_counts` has their number by kind, `redacted_metadata` what replaces the metadata of
    a document (null: nothing does). Rows lie shard by shard, so that one shard's are
    found without a look at the others'.
    """
    edits = (
        " || ".join(f's."{edits_column(text)}"' for text in versions) or '[]::STRUCT(start INTEGER, "end" INTEGER)[]'
    )
    connection.execute(
        f"""
        CREATE OR REPLACE TABLE decisions AS
        WITH spans AS (SELECT id, list(span ORDER BY span) AS spans FROM ({_spans(spans)}) GROUP BY id),
             duplicates AS ({_duplicates(duplicates)}),
             drops AS (
                 SELECT id, flatten(list(reasons ORDER BY step)) AS reasons FROM ({_drops(drops)}) GROUP BY id
             ),
             metadata AS ({_metadata(spans)}),
             decided AS (
                 SELECT h.file_index::INTEGER AS shard, v.id, coalesce(v.listed = 'keep', FALSE) AS stays,
                        v.reasons || coalesce(d.reasons, []) || coalesce(c.reasons, []) AS reasons,
                        d.twin, d.jaccard, s.language, {edits} AS edits, coalesce(p.spans, []) AS spans,
                        m.metadata AS redacted_metadata
                 FROM {numbered_rows([shard.path for shard in shards])} h
                     JOIN {parquet([verdicts.file("verdicts.parquet")])} v ON v.id = h.id
                     JOIN {parquet([shard.path for shard in signals.shards()])} s ON s.id = v.id
                     LEFT JOIN duplicates d ON d.id = v.id
                     LEFT JOIN drops c ON c.id = v.id
                     LEFT JOIN spans p ON p.id = v.id
                     LEFT JOIN metadata m ON m.id = v.id
             )
        SELECT shard, id, stays OR len(reasons) = 0 AS kept, CASE WHEN NOT stays THEN reasons[1] END AS reason, reasons,
               twin, jaccard, language, edits, spans, redacted_metadata,
               coalesce(list_aggregate(list_transform(spans, lambda s: s.kind), 'histogram'), MAP {{}}) AS span_counts
        FROM decided ORDER BY shard, id
        """
    )


def _duplicates(artifacts: Sequence[Artifact]) -> str:
    """id, reasons, twin and jaccard; of a document that several steps drop, twin and jaccard are the first's."""
    found = [
        f"SELECT dropped AS id, 'duplicate.' || kind AS reason, kept, jaccard, {step} AS step "
        f"FROM {parquet([artifact.file('duplicates.parquet')])}"
        for step, artifact in enumerate(artifacts)
    ]
    none = "SELECT ''::VARCHAR AS id, '' AS reason, '' AS kept, 0.0::DOUBLE AS jaccard, 0 AS step WHERE false"
    return (
        "SELECT id, list(reason ORDER BY step) AS reasons, arg_min(kept, step) AS twin, "
        f"arg_min_null(jaccard, step) AS jaccard FROM ({' UNION ALL '.join(found) or none}) GROUP BY id"
    )


def _drops(artifacts: Sequence[Artifact]) -> str:
    """id, reasons and step of documents that a step drops otherwise than as duplicates.

    What boilerplate and substrings leave too little of stands in leftovers.parquet (id, reason); what holds text of a
    benchmark in documents.parquet (id, reasons) beside the shards.
    """
    found = []
    for step, artifact in enumerate(artifacts):
        leftovers = artifact.path / "leftovers.parquet"
        if leftovers.exists():
            found.append(f"SELECT id, [reason] AS reasons, {step} AS step FROM {parquet([leftovers])}")
        else:
            beside = [shard.path.with_name("documents.parquet") for shard in artifact.shards()]
            found.append(f"SELECT id, reasons, {step} AS step FROM {parquet(beside)}")
    return " UNION ALL ".join(found) or "SELECT ''::VARCHAR AS id, []::VARCHAR[] AS reasons, 0 AS step WHERE false"


def _spans(artifacts: Sequence[Artifact]) -> str:
    """id and span of every span: shards of a table, or spans.parquet of a step that looks at all shards at once."""
    tables = [
        path
        for artifact in artifacts
        for path in ([shard.path for shard in artifact.shards()] or [artifact.file("spans.parquet")])
    ]
    if not tables:
        return f"SELECT ''::VARCHAR AS id, NULL::{SPAN} AS span WHERE false"
    span = 'struct_pack("start" := "start", "end" := "end", kind := kind, replacement := replacement)'
    return f"SELECT id, {span}::{SPAN} AS span FROM {parquet(tables)}"


def _metadata(artifacts: Sequence[Artifact]) -> str:
    """id and metadata of the documents whose metadata held personal data."""
    beside = [shard.path.with_name(METADATA) for a in artifacts if a.stage == pii.name for shard in a.shards()]
    return f"SELECT id, metadata FROM {parquet(beside)}" if beside else "SELECT '' AS id, '' AS metadata WHERE false"
