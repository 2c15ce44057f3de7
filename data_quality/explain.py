"""Why a document was dropped: every rule with the value it saw and the threshold it held against it."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from data_quality.judge import fires_expression, register_signals
from data_quality.rules import Ruleset, Threshold
from data_quality.sql import connect


class Finding(NamedTuple):
    """One rule's view of one document: it fired when `value operator threshold` holds (and its language fits)."""

    rule: str
    column: str
    value: float | str | None
    operator: str
    threshold: Threshold
    fired: bool
    reason: str
    source: str


def explain(
    document_id: str,
    signal_paths: Sequence[Path],
    rulesets: Sequence[Ruleset],
    score_paths: Sequence[Sequence[Path]] = (),
    memory_limit: str = "1GB",
    threads: int | None = None,
) -> list[Finding]:
    """Findings of all rules on one document, in the order of the rules.

    `memory_limit` and `threads` (None: one per core) are DuckDB's.

    Raises KeyError when no signals shard holds `document_id`.
    """
    rules = [(ruleset, rule) for ruleset in rulesets for rule in ruleset.rules]
    columns = [f'"{ruleset.column(rule)}", {fires_expression(ruleset, rule)}' for ruleset, rule in rules]
    with (
        TemporaryDirectory(prefix="textmill-explain-") as spill,
        connect(memory_limit, threads, Path(spill)) as connection,
    ):
        register_signals(connection, signal_paths, score_paths, rulesets)
        query = f"SELECT {', '.join(['id', *columns])} FROM signals WHERE id = ?"
        row = connection.execute(query, [document_id]).fetchone()
    if row is None:
        raise KeyError(f"no document '{document_id}' in {len(signal_paths)} signals shards")
    return [
        Finding(
            rule=ruleset.reason(rule),
            column=ruleset.column(rule),
            value=row[1 + 2 * at],
            operator=rule.operator,
            threshold=rule.threshold,
            fired=bool(row[2 + 2 * at]),
            reason=rule.reason,
            source=rule.source,
        )
        for at, (ruleset, rule) in enumerate(rules)
    ]
