"""Gather the families of duplicates: how many of each size, and the largest with what went in their favour."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb

from tasks.reports.data import DuplicateFamily, Duplicates, FamilyMember, FamilySize
from tasks.reports.excerpts import Excerpt, excerpts
from tasks.running.tables import answer
from tasks.store import Artifact

FAMILIES = 12
MEMBERS = 12

Families = dict[Artifact, list[dict[str, Any]]]
"""The largest families of tables of duplicates: who was kept, the size, some members."""


def addresses(
    connection: duckdb.DuckDBPyConnection, found: Sequence[Artifact], families: Families
) -> Duplicates | None:
    """The families of documents that have one address, if they were looked for."""
    if not found:
        return None
    counts = found[0].counts()
    return Duplicates(
        method="Addresses are compared in a normal form, without what tracks visitors; the texts are not compared",
        url=counts["url"],
        families=counts["families"],
        **_families(connection, found[0], families[found[0]]),
    )


def duplicates(
    connection: duckdb.DuckDBPyConnection, signatures: Artifact, found: Artifact, families: Families
) -> Duplicates:
    """The families of documents with equal or similar texts."""
    counts = found.counts()
    shape, near = signatures.manifest()["config"], found.manifest()["config"]["near"]
    method = (
        f"MinHash of {shape['size']}-{shape['unit']} shingles in {shape['bands']} bands of {shape['rows']} "
        f"rows; a candidate goes only if its true Jaccard similarity with the document that stays is at least "
        f"{near['threshold']:g}"
    )
    return Duplicates(
        method=method if near["enabled"] else "Equal texts only",
        exact=counts["exact"],
        near=counts["near"],
        families=counts["families"],
        **_families(connection, found, families[found]),
    )


def _families(connection: duckdb.DuckDBPyConnection, found: Artifact, largest: list[dict[str, Any]]) -> dict[str, Any]:
    """Sizes and largest families of a table of duplicates. Needs what `gather_view.measure` and `show` create."""
    table = str(found.file("duplicates.parquet"))
    sizes = answer(
        connection,
        "SELECT family_size AS size, count(DISTINCT kept) AS families FROM read_parquet(?) GROUP BY size ORDER BY size",
        [table],
    )
    texts, sources = excerpts(connection, shown_in({found: largest})), _sources(connection, largest)
    return {"sizes": [FamilySize(**row) for row in sizes], "largest": [_family(row, texts, sources) for row in largest]}


def _sources(connection: duckdb.DuckDBPyConnection, largest: list[dict[str, Any]]) -> dict[str, str]:
    """Where the members of families come from."""
    members = answer(
        connection,
        "SELECT id, source FROM measured SEMI JOIN (SELECT unnest($ids::VARCHAR[]) AS id) USING (id)",
        {"ids": [member["id"] for row in largest for member in row["members"]]},
    )
    return {row["id"]: row["source"] for row in members}


def largest_families(connection: duckdb.DuckDBPyConnection, found: Iterable[Artifact]) -> Families:
    """Those of each table of duplicates, with some of their members."""
    return {artifact: _largest(connection, artifact) for artifact in found}


def shown_in(families: Families) -> list[str]:
    """The documents that stay of families, whose texts `gather_view.show` must have."""
    return [row["kept"] for largest in families.values() for row in largest]


def _largest(connection: duckdb.DuckDBPyConnection, found: Artifact) -> list[dict[str, Any]]:
    return answer(
        connection,
        """
        SELECT kept, max(family_size) AS size,
               arg_min(struct_pack(id := dropped, kind, jaccard), dropped, $members) AS members
        FROM read_parquet($table) GROUP BY kept ORDER BY size DESC, kept LIMIT $families
        """,
        {"table": str(found.file("duplicates.parquet")), "members": MEMBERS, "families": FAMILIES},
    )


def _family(row: Mapping[str, Any], texts: Mapping[str, Excerpt], sources: Mapping[str, str]) -> DuplicateFamily:
    members: Sequence[Mapping[str, Any]] = row["members"]
    return DuplicateFamily(
        size=row["size"],
        kept=row["kept"],
        kept_source=texts[row["kept"]].source,
        excerpt=texts[row["kept"]].text,
        members=[FamilyMember(**member, source=sources[member["id"]]) for member in members],
    )
