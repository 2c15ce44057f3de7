"""Gather what the report says of rules together: reasons that hold for one document, and what other thresholds do."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_quality.document_lists import KEEP
from data_quality.judge import fires_expression
from data_quality.rules import Rule, Ruleset
from data_quality.signal_catalogue import (
    EDITED_SIGNALS,
    GROUPS,
    LANGUAGE_SIGNALS,
    SCORE_SIGNALS,
    Signal,
    meaning,
    signal_columns,
)
from tasks.reports.data_rules import Overlap, ThresholdCurve
from tasks.reports.gather_view import columns
from tasks.running.tables import answer
from tasks.store import Artifact

REASONS = 18
CURVES = 8
STEPS = 60
BATCH = 100_000  # documents in memory at once
NUMERIC = {"BIGINT", "INTEGER", "SMALLINT", "TINYINT", "HUGEINT", "UBIGINT", "UINTEGER", "DOUBLE", "FLOAT"}
RISING = ("<", "<=")
"""Operators of rules that drop more, the higher their threshold."""

SMALL = 15
"""Whole numbers up to here are told apart one by one."""


def said(ruleset: Ruleset, rule: Rule) -> str:
    """What a rule's signal measures, from the catalogue without its asides."""
    return re.sub(r"\s*\([^()]*\)", "", meaning(ruleset.text_of(rule), rule.signal)).split(";")[0]


def overlap(connection: duckdb.DuckDBPyConnection) -> Overlap | None:
    """For the most frequent reasons, and every two of them, the documents for which both hold."""
    sets = answer(
        connection,
        "SELECT reasons, count(*) AS documents FROM measured WHERE len(reasons) > 0 GROUP BY ALL",
    )
    counts: dict[str, int] = {}
    pairs: dict[tuple[str, str], int] = {}
    for row in sets:
        held = [reason for reason in dict.fromkeys(row["reasons"]) if reason != KEEP]
        for reason in held:
            counts[reason] = counts.get(reason, 0) + row["documents"]
            for other in held:
                pairs[reason, other] = pairs.get((reason, other), 0) + row["documents"]
    if len(counts) < 2:
        return None
    ranked = sorted(counts, key=lambda reason: (-counts[reason], reason))
    shown = ranked[:REASONS]
    matrix = [[pairs.get((row, column), 0) for column in shown] for row in shown]
    return Overlap(reasons=shown, documents=matrix, left=len(ranked) - len(shown))


def threshold_curves(connection: duckdb.DuckDBPyConnection, verdicts: Artifact) -> list[ThresholdCurve]:
    """Of the rules that fire most: the documents and bytes that would go at some 60 thresholds, in one pass."""
    rulesets = [Ruleset.model_validate(ruleset) for ruleset in verdicts.manifest()["config"]["rulesets"]]
    kinds = columns(connection, "signals")
    catalogue = signal_columns(EDITED_SIGNALS, GROUPS) | LANGUAGE_SIGNALS | SCORE_SIGNALS
    fired = {
        row["reason"]: row["documents"]
        for row in answer(
            connection,
            "SELECT reason, count(*) AS documents FROM (SELECT unnest(reasons) AS reason FROM measured) "
            "GROUP BY reason",
        )
    }
    swept = [
        Swept(ruleset, rule, found)
        for ruleset in rulesets
        for rule in ruleset.rules
        if ruleset.reason(rule) in fired
        and kinds.get(ruleset.column(rule)) in NUMERIC
        and (found := threshold_grid(catalogue.get(ruleset.column(rule)), rule)) is not None
    ]
    swept.sort(key=lambda s: (-fired[s.reason], s.reason))
    return _curves(connection, swept[:CURVES])


class Grid(NamedTuple):
    """Rising thresholds, the present one among them."""

    thresholds: tuple[float, ...]
    logarithmic: bool


class Swept(NamedTuple):
    """A rule and the thresholds that are tried."""

    ruleset: Ruleset
    rule: Rule
    grid: Grid

    @property
    def reason(self) -> str:
        """The reason that the rule gives."""
        return self.ruleset.reason(self.rule)

    def value(self) -> str:
        """SQL: the number that the rule compares; null for a document that it never drops."""
        never = -math.inf if self.rule.operator not in RISING else math.inf
        compared = fires_expression(self.ruleset, self.rule.model_copy(update={"threshold": never}))
        return f'CASE WHEN {compared} THEN "{self.ruleset.column(self.rule)}"::DOUBLE END'

    def places(self, values: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """The place of the first threshold at which the answer for a document changes.

        From there on a rule with < or <= drops it, and one with > or >= does no more.
        """
        rising = self.rule.operator in RISING
        side: Literal["left", "right"] = "right" if self.rule.operator in ("<", ">=") else "left"
        found = np.searchsorted(np.array(self.grid.thresholds), values.to_numpy(), side=side)
        return np.where(values.is_null().to_numpy(), len(self.grid.thresholds) if rising else 0, found)


def threshold_grid(signal: Signal | None, rule: Rule) -> Grid | None:
    """Thresholds around the present one; None for a rule whose threshold is no matter of degree."""
    threshold, upper = rule.threshold, signal.upper if signal else None
    whole = signal is not None and signal.integer
    if not isinstance(threshold, float) or rule.operator == "==" or threshold <= 0 or (whole and upper == 1):
        return None
    if whole and threshold > SMALL:
        spread = (round(threshold * 30 ** (step / (STEPS // 2) - 1)) for step in range(STEPS + 1))
        return Grid(tuple(sorted({float(max(1, at)) for at in spread} | {threshold})), True)
    if whole:
        most = int(min(4 * threshold, upper or 4 * threshold))
        return Grid(tuple(sorted({float(at) for at in range(most + 1)} | {threshold})), False)
    low, high = 0.0, 4 * threshold if upper is None else min(4 * threshold, upper)
    if upper is not None and 0.75 * upper < threshold < upper:
        low = upper - 4 * (upper - threshold)
    even = (round(low + (high - low) * step / STEPS, 12) for step in range(STEPS + 1))
    return Grid(tuple(sorted({*even, threshold})), False)


def _curves(connection: duckdb.DuckDBPyConnection, swept: Sequence[Swept]) -> list[ThresholdCurve]:
    if not swept:
        return []
    lengths = [len(each.grid.thresholds) + 1 for each in swept]
    counts, sizes = ([np.zeros(length, dtype=np.int64) for length in lengths] for _ in range(2))
    values = ", ".join(f"{each.value()} AS v{number}" for number, each in enumerate(swept))
    for batch in connection.sql(f"SELECT bytes, {values} FROM signals").to_arrow_reader(BATCH):
        own = batch["bytes"].to_numpy()
        for number, each in enumerate(swept):
            places = each.places(pa.chunked_array([batch[f"v{number}"]]))
            counts[number] += np.bincount(places, minlength=lengths[number])
            np.add.at(sizes[number], places, own)
    [whole] = answer(connection, "SELECT count(*) AS all_documents, sum(bytes)::BIGINT AS all_bytes FROM measured")
    return [
        _curve(each, list(zip(found.tolist(), size.tolist(), strict=True)), whole)
        for each, found, size in zip(swept, counts, sizes, strict=True)
    ]


def _curve(swept: Swept, places: Sequence[tuple[int, int]], whole: Mapping[str, int]) -> ThresholdCurve:
    """`places`: documents and bytes whose answer changes at each threshold, and at none."""
    ruleset, rule, grid = swept
    dropped = []
    for at in range(len(grid.thresholds)):
        gone = places[: at + 1] if rule.operator in RISING else places[at + 1 :]
        dropped.append((sum(documents for documents, _ in gone), sum(size for _, size in gone)))
    return ThresholdCurve(
        reason=swept.reason,
        signal=ruleset.column(rule),
        meaning=said(ruleset, rule),
        operator=rule.operator,
        threshold=rule.threshold,
        logarithmic=grid.logarithmic,
        thresholds=grid.thresholds,
        documents=[documents for documents, _ in dropped],
        bytes=[size for _, size in dropped],
        **whole,
    )
