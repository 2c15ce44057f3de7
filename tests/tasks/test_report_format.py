"""Figures as the report prints them, and its pictures."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from data_quality.rules import Rule
from data_quality.signal_catalogue import Signal
from tasks.reports.data import Amount, Point, SourceRow
from tasks.reports.data_rules import Overlap, ThresholdCurve
from tasks.reports.figures import thinned
from tasks.reports.figures_rules import overlap, source_bar, threshold_curve
from tasks.reports.format import count, duration, memory, points, share, short, size
from tasks.reports.gather_rules import threshold_grid
from tasks.reports.svg import Scale


def test_thinning_keeps_the_mean_and_the_last_step() -> None:
    curve = [Point(step=i, value=float(i)) for i in range(1_000)]
    thin = thinned(curve, 100)
    assert len(thin) == 100
    assert thin[-1].step == 999
    assert sum(p.value for p in thin) / 100 == pytest.approx(sum(p.value for p in curve) / 1000)


def test_ticks_are_round_and_inside() -> None:
    assert Scale(0, 1500, 0, 1).ticks() == [0, 500, 1000, 1500]
    assert Scale(0.21, 0.92, 0, 1).ticks(8) == [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert Scale(2, 90, 0, 1, log=True).ticks() == [2, 5, 10, 20, 50]
    assert Scale(3, 3, 0, 1).ticks() == [3]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (count(17301), "17,301"),
        (count(None), "–"),
        (short(999), "999"),
        (short(999_999), "1.00 M"),
        (short(13_904_117), "13.9 M"),
        (size(999), "999 B"),
        (size(52_100_000), "52.1 MB"),
        (memory(900 << 20), "900 MiB"),
        (memory(3 << 30), "3.00 GiB"),
        (duration(0.42), "0.42 s"),
        (duration(59.97), "1 min 00 s"),
        (duration(634.2), "10 min 34 s"),
        (duration(7_620), "2 h 07 min"),
        (share(1, 3), "33.3 %"),
        (share(1, 0), "–"),
        (share(1, 100_000), "<0.1 %"),
        (points(-0.0512), "−5.1"),
    ],
)
def test_figures_as_printed(shown: str, expected: str) -> None:
    assert shown.replace("\u202f", " ") == expected


def test_the_data_model_is_light() -> None:
    program = (
        "import sys, tasks.reports.data; "
        "print([m for m in ('torch','numpy','jinja2','matplotlib','prefect','mlflow','duckdb') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    assert (
        subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, check=True, text=True).stdout
        == "[]\n"
    )


def test_a_source_is_one_bar_of_all_its_bytes() -> None:
    row = SourceRow(
        name="s",
        raw_documents=9,
        raw_bytes=100,
        rules=Amount(documents=3, bytes=40),
        duplicates=Amount(documents=2, bytes=20),
        other=Amount(documents=0, bytes=0),
        kept_documents=4,
        kept_bytes=30,
    )
    bars = re.findall(r'x="([\d.]+)" y="0" width="([\d.]+)" height="10" class="(\w+)"', str(source_bar(row, 200)))
    assert bars == [("0", "50", "grey"), ("0", "15", "accent"), ("15", "20", "warm"), ("35", "10", "dark")]


def test_overlap_shows_the_share_of_the_row() -> None:
    drawn = str(overlap(Overlap(reasons=["a", "b", "c"], documents=[[8, 2, 0], [2, 4, 0], [0, 0, 1]])))
    assert re.findall(r'fill-opacity="([\d.]+)"', drawn) == ["0.25", "0.5"]
    assert "2 (25.0\u202f%) of a also meet b" in drawn
    assert "2 (50.0\u202f%) of b also meet a" in drawn


def test_a_curve_needs_two_thresholds_and_a_corpus() -> None:
    curve = ThresholdCurve(
        reason="r",
        signal="s",
        operator="<",
        threshold=1,
        thresholds=[1, 2],
        documents=[1, 3],
        bytes=[10, 40],
        all_documents=4,
        all_bytes=50,
    )
    assert "25.0\u202f% of the documents, 20.0\u202f% of the text" in str(threshold_curve(curve))
    assert threshold_curve(curve.model_copy(update={"thresholds": [1]})) is None
    assert threshold_curve(curve.model_copy(update={"all_documents": 0})) is None
    assert threshold_curve(curve.model_copy(update={"thresholds": [0, 1], "logarithmic": True})) is None


def rule(operator: str, threshold: float) -> Rule:
    return Rule(name="r", signal="words", operator=operator, threshold=threshold, reason="", source="")


@pytest.mark.parametrize(
    ("signal", "threshold", "low", "high", "logarithmic"),
    [
        (Signal("a ratio", upper=1.0), 0.15, 0.0, 0.6, False),
        (Signal("a ratio", upper=1.0), 0.8, 0.2, 1.0, False),
        (Signal("a ratio", upper=1.0), 1.0, 0.0, 1.0, False),
        (Signal("a mean"), 3.0, 0.0, 12.0, False),
        (Signal("a number", integer=True), 50.0, 2.0, 1500.0, True),
        (Signal("a number", integer=True), 3.0, 0.0, 12.0, False),
        (Signal("of eight", integer=True, upper=8), 2.0, 0.0, 8.0, False),
        (None, 0.37, 0.0, 1.48, False),
    ],
)
def test_thresholds_that_are_tried(
    signal: Signal | None, threshold: float, low: float, high: float, logarithmic: bool
) -> None:
    grid = threshold_grid(signal, rule("<", threshold))
    assert grid is not None
    assert grid.logarithmic == logarithmic
    assert list(grid.thresholds) == sorted(set(grid.thresholds))
    assert (grid.thresholds[0], grid.thresholds[-1]) == pytest.approx((low, high))
    assert threshold in grid.thresholds
    assert len(grid.thresholds) <= 62


def test_a_yes_or_no_has_no_curve() -> None:
    assert threshold_grid(Signal("yes or no", integer=True, upper=1), rule(">=", 1.0)) is None
    assert threshold_grid(Signal("a number", integer=True), rule(">", 0.0)) is None
    assert threshold_grid(Signal("a number", integer=True), rule("==", 3.0)) is None
