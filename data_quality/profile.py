"""The profile of a corpus in figures: what was kept of each source and language, and what went for which reason.

Two profiles are compared by gates, so that an unattended refresh stops when its input or a rule has gone wrong.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_quality.config import GatesConfig
from data_quality.ratio import ratio
from data_quality.sql import small_database

if TYPE_CHECKING:
    import duckdb

FIGURES = ("documents", "bytes", "kept", "kept_bytes")


def profile_corpus(signals: Sequence[Path], decisions: Sequence[Path], scratch: Path) -> dict[str, Any]:
    """Count documents and UTF-8 bytes (before edits), in all and kept, of the whole, each source and each language.

    Args:
        signals: id, source, language (as identified, or as the source states it), bytes.
        decisions: id, kept, reason.

    Returns:
        {"whole": figures, "sources": {name: figures}, "languages": {name: figures}, "reasons": {first reason:
        documents}}, figures being documents, bytes, kept, kept_bytes; a document without a language is "unknown".
    """
    with small_database(scratch) as connection:
        connection.execute(
            """
            CREATE TEMP TABLE corpus AS
            SELECT source, coalesce(language, 'unknown') AS language, bytes, kept, reason
            FROM read_parquet($signals)
            JOIN (SELECT id, kept, reason FROM read_parquet($decisions)) USING (id)
            """,
            {
                "signals": [str(path) for path in signals],
                "decisions": [str(path) for path in decisions],
            },
        )
        groups = {
            name: {row[0]: dict(zip(FIGURES, row[1:], strict=True)) for row in _summed(connection, key)}
            for name, key in (("whole", "'whole'"), ("sources", "source"), ("languages", "language"))
        }
        reasons = connection.execute(
            "SELECT reason, count(*) FROM corpus WHERE NOT kept GROUP BY reason ORDER BY count(*) DESC, reason"
        ).fetchall()
    whole = groups["whole"].get("whole", dict.fromkeys(FIGURES, 0))
    return {**groups, "whole": whole, "reasons": dict(reasons)}


def add_profiles(profiles: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The profile of a corpus from those of its shards; no document is in two."""
    whole: Counter[str] = Counter(dict.fromkeys(FIGURES, 0))
    groups: dict[str, dict[str, Counter[str]]] = {"sources": {}, "languages": {}}
    reasons: Counter[str] = Counter()
    for profile in profiles:
        whole.update(profile["whole"])
        reasons.update(profile["reasons"])
        for name, group in groups.items():
            for key, figures in profile[name].items():
                group.setdefault(key, Counter()).update(figures)
    added = {name: {key: dict(group[key]) for key in sorted(group)} for name, group in groups.items()}
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return {"whole": dict(whole), **added, "reasons": dict(ordered)}


def _summed(connection: "duckdb.DuckDBPyConnection", key: str) -> list[tuple[Any, ...]]:
    return connection.execute(
        f"""
        SELECT {key} AS name, count(*), coalesce(sum(bytes), 0)::BIGINT,
               count(*) FILTER (kept), coalesce(sum(bytes) FILTER (kept), 0)::BIGINT
        FROM corpus GROUP BY name ORDER BY name
        """
    ).fetchall()


def moved(before: Mapping[str, Any], now: Mapping[str, Any], gates: GatesConfig) -> list[str]:
    """What moved further between two profiles than the gates allow, a sentence each; empty: nothing."""
    found = []
    shares = [ratio(profile["whole"]["kept"], profile["whole"]["documents"]) for profile in (before, now)]
    if gates.kept_share is not None and abs(shares[1] - shares[0]) > gates.kept_share:
        found.append(
            f"the share of documents that are kept went from {shares[0]:.1%} to {shares[1]:.1%} "
            f"(gates.kept_share allows {gates.kept_share:.1%})"
        )
    if gates.language_share is not None:
        for name in sorted({*before["languages"], *now["languages"]}):
            old, new = (
                ratio(profile["languages"].get(name, {}).get("kept_bytes", 0), profile["whole"]["kept_bytes"])
                for profile in (before, now)
            )
            if abs(new - old) > gates.language_share:
                found.append(
                    f"language {name} went from {old:.1%} to {new:.1%} of the kept bytes "
                    f"(gates.language_share allows {gates.language_share:.1%})"
                )
    if gates.source_size is not None:
        for name, figures in sorted(before["sources"].items()):
            old, new = figures["documents"], now["sources"].get(name, {}).get("documents", 0)
            if max(old, new) >= gates.source_least and abs(new - old) > gates.source_size * old:
                found.append(
                    f"source {name} went from {old:,} to {new:,} documents "
                    f"(gates.source_size allows {gates.source_size:.0%})"
                )
    if gates.drop_rate is not None:
        for name in sorted({*before["reasons"], *now["reasons"]}):
            old, new = (
                ratio(profile["reasons"].get(name, 0), profile["whole"]["documents"]) for profile in (before, now)
            )
            if abs(new - old) > gates.drop_rate:
                found.append(
                    f"{name} dropped {old:.1%} of the documents and now drops {new:.1%} "
                    f"(gates.drop_rate allows {gates.drop_rate:.1%})"
                )
    return found
