"""Gather evidence other than a signal or a twin: how little would be left, which benchmark item a document shares."""

from collections.abc import Iterable, Sequence
from typing import Any

import duckdb

from tasks.decide import LEFTOVERS
from tasks.reports.gather_view import CONTAMINATED
from tasks.running.tables import answer
from tasks.store import Artifact


def evidence(
    connection: duckdb.DuckDBPyConnection, found: Sequence[Artifact], ids: Iterable[str]
) -> dict[tuple[str, str], str]:
    """By document and reason, in words; of some documents, from the tables of the steps that dropped them."""
    wanted = sorted(set(ids))
    said: dict[tuple[str, str], str] = {}
    for artifact in found:
        tables = [artifact.path / LEFTOVERS, *(shard.path.with_name(LEFTOVERS) for shard in artifact.shards())]
        if leftovers := [str(table) for table in tables if table.exists()]:
            for row in _rows(connection, leftovers, wanted):
                said[row["id"], row["reason"]] = f"{row['left']:,} of {row['characters']:,} characters would be left"
        if artifact.stage == "contamination":
            said |= _contaminated(connection, artifact, wanted)
    return said


def _contaminated(
    connection: duckdb.DuckDBPyConnection, artifact: Artifact, wanted: Sequence[str]
) -> dict[tuple[str, str], str]:
    shards = artifact.shards()
    items: dict[tuple[str, str], list[str]] = {}
    for row in _rows(connection, [str(shard.path) for shard in shards], wanted):
        items.setdefault((row["id"], row["other"].partition("#")[0]), []).append(row["other"])
    said = {}
    for row in _rows(connection, [str(shard.path.with_name("documents.parquet")) for shard in shards], wanted):
        for reason in row["reasons"]:
            shared = dict.fromkeys(items.get((row["id"], reason.removeprefix(CONTAMINATED)), []))
            said[row["id"], reason] = (
                f"{row['covered']:,} of {row['words']:,} words stand in rows that are shared, here with "
                + next(iter(shared), "an item")
                + (f" and {len(shared) - 1:,} more items" if len(shared) > 1 else "")
            )
    return said


def _rows(connection: duckdb.DuckDBPyConnection, tables: Sequence[str], wanted: Sequence[str]) -> list[dict[str, Any]]:
    return answer(
        connection,
        "SELECT * FROM read_parquet($tables) SEMI JOIN (SELECT unnest($ids::VARCHAR[]) AS id) USING (id) ORDER BY ALL",
        {"tables": list(tables), "ids": list(wanted)},
    )
