"""Tuning: every figure against a count in Python over the same rows."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_quality.rules import Ruleset, with_thresholds
from data_quality.signal_catalogue import signal_columns
from data_quality.tune import at_the_edge, compare_rules


def ruleset(short: float, han: float = 0.5, language: str | None = "zh") -> Ruleset:
    rules = [
        {"name": "short", "signal": "words", "operator": "<", "threshold": short},
        {"name": "han", "signal": "han_ratio", "operator": ">=", "threshold": han, "language": language},
    ]
    common = {"reason": "a reason", "source": "none"}
    content = {"name": "mine", "description": "d", "citation": "c", "text": "raw"}
    return Ruleset.model_validate({**content, "rules": [rule | common for rule in rules]})


@pytest.fixture
def rows() -> list[dict[str, object]]:
    draw = random.Random(0)
    return [
        {
            "id": f"d{number:03d}",
            "language": draw.choice(["zh", "en", None]),
            "words": draw.randrange(40),
            "han_ratio": draw.choice([0.0, 0.5, 0.9]),
            "bytes": draw.randrange(1000),
        }
        for number in range(300)
    ]


@pytest.fixture
def shards(rows: list[dict[str, object]], tmp_path: Path) -> list[Path]:
    zero = dict.fromkeys(signal_columns(), 0.0)
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.parquet")
        table = pa.Table.from_pylist([zero | row for row in rows[number::3]])
        pq.write_table(table.set_column(table.schema.get_field_index("bytes"), "bytes",
                                        table["bytes"].cast(pa.int64())), paths[-1])  # fmt: skip
    return paths


def fires(row: dict[str, object], short: float) -> tuple[bool, bool]:
    return row["words"] < short, row["language"] == "zh" and row["han_ratio"] >= 0.5


def test_figures_are_those_of_a_loop(shards: list[Path], rows: list[dict[str, object]], tmp_path: Path) -> None:
    answer = compare_rules(shards, [ruleset(10)], [ruleset(25)], tmp_path / "spill")
    assert (answer["documents"], answer["bytes"]) == (300, sum(row["bytes"] for row in rows))
    for side, short in enumerate((10, 25)):
        for at, rule in enumerate(answer["rules"]):
            hit = [row["bytes"] for row in rows if fires(row, short)[at]]
            assert (rule["documents"][side], rule["bytes"][side]) == (len(hit), sum(hit))
        passed = [row["bytes"] for row in rows if not any(fires(row, short))]
        assert (answer["passed"][side], answer["passed_bytes"][side]) == (len(passed), sum(passed))
    assert answer["gained"] == 0
    assert answer["lost"] == sum(not any(fires(row, 10)) and any(fires(row, 25)) for row in rows)
    assert [rule["threshold"] for rule in answer["rules"]] == [[10, 25], [0.5, 0.5]]


def test_a_rule_that_only_one_side_has(shards: list[Path], tmp_path: Path) -> None:
    answer = compare_rules(shards, [], [ruleset(10)], tmp_path / "spill")
    assert answer["passed"][0] == 300
    assert [rule["threshold"] for rule in answer["rules"]] == [[None, 10], [None, 0.5]]
    assert all(rule["documents"][0] == 0 for rule in answer["rules"])


def test_the_edge_shows_the_nearest_on_both_sides(
    shards: list[Path], rows: list[dict[str, object]], tmp_path: Path
) -> None:
    chosen = ruleset(20)
    found = at_the_edge(shards, chosen, chosen.rules[0], 4, tmp_path / "spill")
    below = sorted((row for row in rows if row["words"] < 20), key=lambda row: (-row["words"], row["id"]))[:4]
    above = sorted((row for row in rows if row["words"] >= 20), key=lambda row: (row["words"], row["id"]))[:4]
    assert {row["id"] for row in found if row["fires"]} == {row["id"] for row in below}
    assert {row["id"] for row in found if not row["fires"]} == {row["id"] for row in above}
    assert [row["value"] for row in found] == sorted(row["value"] for row in found)


def foreign(*languages: str) -> Ruleset:
    rule = {"name": "foreign", "signal": "language", "operator": "not in", "threshold": languages}
    content = {"name": "mine", "description": "d", "citation": "c", "text": "raw"}
    return Ruleset.model_validate({**content, "rules": [rule | {"reason": "a reason", "source": "none"}]})


def test_words_are_compared_and_have_no_edge(shards: list[Path], rows: list[dict[str, object]], tmp_path: Path) -> None:
    after = with_thresholds(foreign("zh"), {"mine.foreign": ("en", "zh")})
    answer = compare_rules(shards, [foreign("zh")], [after], tmp_path / "spill")
    assert [rule["threshold"] for rule in answer["rules"]] == [[("zh",), ("en", "zh")]]
    known = [sum(row["language"] in languages for row in rows) for languages in (("zh",), ("en", "zh"))]
    assert answer["passed"] == known
    assert (answer["gained"], answer["lost"]) == (known[1] - known[0], 0)
    assert at_the_edge(shards, after, after.rules[0], 4, tmp_path / "spill") == []


def test_signals_that_are_not_there_are_named(shards: list[Path], tmp_path: Path) -> None:
    table = pq.read_table(shards[0]).drop_columns(["han_ratio"])
    pq.write_table(table, tmp_path / "less.parquet")
    with pytest.raises(ValueError, match="the signals of this corpus have no han_ratio: run the pipeline once"):
        compare_rules([tmp_path / "less.parquet"], [], [ruleset(3)], tmp_path / "spill")
