"""Gather the families of duplicates: how many of each size, and the largest with what went in their favour."""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from tasks.report_data import DuplicateFamily, Duplicates, FamilyMember, FamilySize
from tasks.report_excerpts import Excerpt, excerpts
from tasks.store import Artifact
from tasks.tables import answer

FAMILIES = 12
MEMBERS = 12


def addresses(connection: duckdb.DuckDBPyConnection, found: Sequence[Artifact]) -> Duplicates | None:
    """The families of documents that have one address, if they were looked for."""
    if not found:
        return None
    counts = found[0].counts()
    return Duplicates(
        method="Addresses are compared in a normal form, without what tracks visitors; the texts are not compared",
        url=counts["url"],
        families=counts["families"],
        **_families(connection, found[0]),
    )


def duplicates(connection: duckdb.DuckDBPyConnection, signatures: Artifact, found: Artifact) -> Duplicates:
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
        **_families(connection, found),
    )


def _families(connection: duckdb.DuckDBPyConnection, found: Artifact) -> dict[str, Any]:
    """Sizes and largest families of a table of duplicates."""
    table = str(found.file("duplicates.parquet"))
    sizes = answer(
        connection,
        "SELECT family_size AS size, count(DISTINCT kept) AS families FROM read_parquet(?) GROUP BY size ORDER BY size",
        [table],
    )
    largest = answer(
        connection,
        """
        SELECT kept, max(family_size) AS size,
               arg_min(struct_pack(id := dropped, kind, jaccard), dropped, $members) AS members
        FROM read_parquet($table) GROUP BY kept ORDER BY size DESC, kept LIMIT $families
        """,
        {"table": table, "members": MEMBERS, "families": FAMILIES},
    )
    ids = [row["kept"] for row in largest] + [member["id"] for row in largest for member in row["members"]]
    texts = excerpts(connection, ids)
    return {"sizes": [FamilySize(**row) for row in sizes], "largest": [_family(row, texts) for row in largest]}


def _family(row: Mapping[str, Any], texts: Mapping[str, Excerpt]) -> DuplicateFamily:
    members: Sequence[Mapping[str, Any]] = row["members"]
    return DuplicateFamily(
        size=row["size"],
        kept=row["kept"],
        kept_source=texts[row["kept"]].source,
        excerpt=texts[row["kept"]].text,
        members=[FamilyMember(**member, source=texts[member["id"]].source) for member in members],
    )
