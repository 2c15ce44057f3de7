"""Gather what the report says about the corpus: skipped input, sources, lengths.

Everything is a query over Parquet with a bounded answer; no document is read but those that are shown.
"""

from typing import Any

import duckdb

from data_quality.sources.base import BENIGN_REASONS, SKIPPED
from tasks.reports.data import Amount, LengthHistogram, SkipExample, SkipReason, SourceRow
from tasks.reports.excerpts import without_addresses
from tasks.reports.gather_sizes import Sizes
from tasks.reports.gather_view import RULES, step_of
from tasks.running.tables import answer
from tasks.store import Artifact

EXAMPLES = 3
BINS = 36


def skips(connection: duckdb.DuckDBPyConnection, raw: Artifact) -> list[SkipReason]:
    """What ingest could not read, by reason, with places."""
    found = answer(
        connection,
        """
        SELECT reason, count(*) AS records, count(DISTINCT file) AS files,
               arg_min(struct_pack(file, line, record, detail), md5(file || coalesce(line, record, 0)), $n) AS examples
        FROM read_parquet($table) GROUP BY reason ORDER BY records DESC, reason
        """,
        {"table": str(raw.path / SKIPPED), "n": EXAMPLES},
    )
    return [
        SkipReason(
            reason=row["reason"].replace("_", " ")
            + (" (nothing is wrong with it)" if row["reason"] in BENIGN_REASONS else ""),
            records=row["records"],
            files=row["files"],
            examples=[
                SkipExample(**{**example, "detail": without_addresses(example["detail"] or "")})
                for example in row["examples"]
            ],
        )
        for row in found
    ]


def sources(connection: duckdb.DuckDBPyConnection, read: Sizes, left: Sizes) -> list[SourceRow]:
    """Documents and bytes of every source: as read, where they went, as kept."""
    found: list[dict[str, Any]] = [
        {"name": name, "raw_documents": documents, "raw_bytes": size}
        | dict(zip(("kept_documents", "kept_bytes"), left.get(name, (0, 0)), strict=True))
        for name, (documents, size) in sorted(read.items(), key=lambda item: (-item[1][1], item[0]))
    ]
    lost = _lost(connection)
    none = {"documents": 0, "bytes": 0}
    rows = []
    for row in found:
        rules, duplicates, other = (lost.get((row["name"], way), none) for way in ("rules", "duplicates", "other"))
        # what normalisation left empty has no reason and no bytes
        rest = row["raw_documents"] - row["kept_documents"] - rules["documents"] - duplicates["documents"]
        rows.append(
            SourceRow(
                **row,
                rules=Amount(**rules),
                duplicates=Amount(**duplicates),
                other=Amount(documents=rest, bytes=other["bytes"]),
            )
        )
    return rows


def _lost(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], dict[str, int]]:
    """Documents and bytes by source and by why they went: rules, duplicates, other."""
    ways = {RULES: "rules", "url": "duplicates", "dedupe": "duplicates"}
    found: dict[tuple[str, str], dict[str, int]] = {}
    for row in answer(
        connection,
        "SELECT source, reason, count(*) AS documents, sum(bytes)::BIGINT AS bytes FROM measured "
        "WHERE NOT kept GROUP BY ALL",
    ):
        amount = found.setdefault(
            (row["source"], ways.get(step_of(row["reason"]), "other")), {"documents": 0, "bytes": 0}
        )
        amount["documents"] += row["documents"]
        amount["bytes"] += row["bytes"]
    return found


def lengths(connection: duckdb.DuckDBPyConnection) -> list[LengthHistogram]:
    """Histograms of characters and words."""
    return [found for unit in ("characters", "words") if (found := _histogram(connection, unit)) is not None]


def _histogram(connection: duckdb.DuckDBPyConnection, unit: str) -> LengthHistogram | None:
    [reach] = answer(
        connection,
        f"SELECT min({unit}) AS low, max({unit}) AS high, approx_quantile({unit}, 0.5) AS raw, "
        f"approx_quantile({unit}, 0.5) FILTER (kept) AS kept FROM measured WHERE {unit} > 0",
    )
    if reach["low"] is None:
        return None
    low, high = reach["low"], reach["high"] + 1
    # whole numbers, so that no bin lies between two lengths
    edges = sorted({low, *(round(low * (high / low) ** (i / BINS)) for i in range(1, BINS)), high})
    bins = {
        row["bin"]: row
        for row in answer(
            connection,
            f"SELECT len(list_filter($edges, lambda edge: edge <= {unit})) - 1 AS bin, count(*) AS raw, "
            f"count(*) FILTER (kept) AS kept FROM measured WHERE {unit} > 0 GROUP BY bin",
            {"edges": edges},
        )
    }
    counts = [bins.get(number, {"raw": 0, "kept": 0}) for number in range(len(edges) - 1)]
    return LengthHistogram(
        unit=unit,
        edges=[float(edge) for edge in edges],
        raw=[row["raw"] for row in counts],
        kept=[row["kept"] for row in counts],
        raw_median=reach["raw"],
        kept_median=reach["kept"],
    )
