"""What other thresholds would do, from the signals alone: documents and bytes of each rule, and who is at the edge."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from data_quality.judge import fires_expression, register_signals, require_columns
from data_quality.rules import Rule, Ruleset
from data_quality.signal_catalogue import TEXT_SIGNALS
from data_quality.sql import connect


def compare_rules(
    signal_paths: Sequence[Path],
    before: Sequence[Ruleset],
    after: Sequence[Ruleset],
    scratch: Path,
    memory_limit: str = "1GB",
    threads: int = 1,
    score_paths: Sequence[Sequence[Path]] = (),
) -> dict[str, Any]:
    """Count what two sets of rules drop of the same documents, in one pass over the signals.

    Returns:
        documents and bytes in all; `passed` and `passed_bytes`, each [before, after]; `gained` and `lost`, the
        documents that only pass after and that only passed before; and `rules`, one row for each rule of either side:
        rule, signal, operator, threshold [before, after] (None where a side has no such rule), documents
        [before, after] and bytes [before, after] on which it fires, whatever other rules say.

    Raises:
        ValueError: the signals lack a column that a rule needs.
    """
    sides = {"before": _by_reason(before), "after": _by_reason(after)}
    names = list(dict.fromkeys([*sides["after"], *sides["before"]]))
    with connect(memory_limit, threads, scratch) as connection:
        rulesets = [*before, *after]
        require_columns(register_signals(connection, signal_paths, score_paths, rulesets), rulesets)
        fired = {
            side: [fires_expression(*rules[name]) if name in rules else "false" for name in names]
            for side, rules in sides.items()
        }
        # each condition once: most rules are the same on both sides. Of a document that has no word, a rule on a word
        # says nothing (null)
        flags = {condition: f"fires_{at}" for at, condition in enumerate(dict.fromkeys(chain(*fired.values())))}
        flagged = ", ".join(f"coalesce({condition}, false) AS {flag}" for condition, flag in flags.items())
        old_drop, new_drop = (" OR ".join(flags[each] for each in fired[side]) or "false" for side in sides)
        ends = [f"NOT ({old_drop})", f"NOT ({new_drop})", f"({old_drop}) AND NOT ({new_drop})"]
        ends.append(f"({new_drop}) AND NOT ({old_drop})")
        counted = ["true", *flags.values(), *ends]
        sums = [f"count(*) FILTER ({each}), coalesce(sum(bytes) FILTER ({each}), 0)" for each in counted]
        [row] = connection.execute(
            f"SELECT {', '.join(sums)} FROM (SELECT bytes{', ' * bool(flags)}{flagged} FROM signals)"
        ).fetchall()
    pairs = {each: (int(row[2 * at]), int(row[2 * at + 1])) for at, each in enumerate(counted)}
    whole, ended = pairs["true"], [pairs[each] for each in ends]
    old, new = ([pairs[flags[each]] for each in fired[side]] for side in sides)
    return {
        "documents": whole[0],
        "bytes": whole[1],
        "passed": [ended[0][0], ended[1][0]],
        "passed_bytes": [ended[0][1], ended[1][1]],
        "gained": ended[2][0],
        "lost": ended[3][0],
        "rules": [
            {
                "rule": name,
                **_described(sides, name),
                "documents": [old[at][0], new[at][0]],
                "bytes": [old[at][1], new[at][1]],
            }
            for at, name in enumerate(names)
        ],
    }


def at_the_edge(
    signal_paths: Sequence[Path],
    ruleset: Ruleset,
    rule: Rule,
    each: int,
    scratch: Path,
    memory_limit: str = "1GB",
    threads: int = 1,
    score_paths: Sequence[Sequence[Path]] = (),
) -> list[dict[str, Any]]:
    """The documents nearest to a rule's threshold, `each` that it drops and `each` that it lets pass.

    Returns:
        id, value and fires, in the order of the value; nothing for a rule on a word, which no document is nearer to.
    """
    if rule.signal in TEXT_SIGNALS:
        return []
    column = ruleset.column(rule)
    fires = fires_expression(ruleset, rule)
    with connect(memory_limit, threads, scratch) as connection:
        require_columns(register_signals(connection, signal_paths, score_paths, [ruleset]), [ruleset])
        sides = [
            f"""
            SELECT * FROM (
                SELECT id, "{column}" AS value, {fired} AS fires FROM signals
                WHERE "{column}" IS NOT NULL AND coalesce({fires}, false) = {fired}
                ORDER BY abs("{column}" - $threshold), id LIMIT $each
            )
            """
            for fired in ("true", "false")
        ]
        rows = connection.execute(
            f"{' UNION ALL '.join(sides)} ORDER BY value, id", {"threshold": rule.threshold, "each": each}
        ).fetchall()
    return [{"id": id, "value": value, "fires": fired} for id, value, fired in rows]


def _by_reason(rulesets: Sequence[Ruleset]) -> dict[str, tuple[Ruleset, Rule]]:
    return {ruleset.reason(rule): (ruleset, rule) for ruleset in rulesets for rule in ruleset.rules}


def _described(sides: dict[str, dict[str, tuple[Ruleset, Rule]]], name: str) -> dict[str, Any]:
    found = [rules.get(name) for rules in sides.values()]
    ruleset, rule = next(pair for pair in reversed(found) if pair is not None)
    thresholds = [pair[1].threshold if pair else None for pair in found]
    return {"signal": ruleset.column(rule), "operator": rule.operator, "threshold": thresholds}
