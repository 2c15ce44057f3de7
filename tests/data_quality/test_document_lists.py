"""The keep-list and the drop-list against Python's own matching."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_quality.config import DocumentList
from data_quality.document_lists import DocumentLists
from data_quality.judge import judge
from data_quality.rules import Ruleset
from data_quality.sql import connect

RULES = Ruleset.model_validate(
    {
        "name": "mine",
        "description": "",
        "citation": "",
        "text": "raw",
        "rules": [
            {"name": "short", "signal": "words", "operator": "<", "threshold": 5, "reason": "", "source": ""},
            {"name": "tiny", "signal": "words", "operator": "<", "threshold": 2, "reason": "", "source": ""},
        ],
    }
)
ROWS = [
    {"id": "mail/1", "source": "mail", "language": None, "words": 1},
    {"id": "mail/2", "source": "mail", "language": None, "words": 9},
    {"id": "web/1", "source": "web-a", "language": None, "words": 3},
    {"id": "web/2", "source": "web-b", "language": None, "words": 9},
    {"id": "web/[3]", "source": None, "language": None, "words": 9},
]


def verdicts(folder: Path, keep: DocumentList, drop: DocumentList) -> tuple[dict[str, dict[str, object]], dict]:  # type: ignore[type-arg]
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "signals.parquet")
    counts = judge([folder / "signals.parquet"], [RULES], folder / "verdicts.parquet", keep=keep, drop=drop)
    rows = pq.read_table(folder / "verdicts.parquet").to_pylist()
    return {row.pop("id"): row for row in rows}, counts


def test_lists_decide_before_the_rules_and_keep_before_drop(tmp_path: Path) -> None:
    keep = DocumentList(ids=("mail/1", "web/[3]"), sources=("web-b",))
    drop = DocumentList(ids=("web/*",), sources=("mail",))
    rows, counts = verdicts(tmp_path, keep, drop)
    assert rows == {
        "mail/1": {"reasons": ["list.keep", "mine.short", "mine.tiny"], "first_reason": None, "listed": "keep"},
        "mail/2": {"reasons": ["list.drop"], "first_reason": "list.drop", "listed": "drop"},
        "web/1": {"reasons": ["list.drop", "mine.short"], "first_reason": "list.drop", "listed": "drop"},
        "web/2": {"reasons": ["list.keep"], "first_reason": None, "listed": "keep"},
        "web/[3]": {"reasons": ["list.keep"], "first_reason": None, "listed": "keep"},
    }
    assert counts["passed"] == 3
    assert counts["first_reasons"] == {"mine.short": 0, "mine.tiny": 0, "list.drop": 2, "list.keep": 0}
    assert counts["unmatched"] == []


def test_entries_that_no_document_has_are_reported(tmp_path: Path) -> None:
    keep = DocumentList(ids=("mail/1", "mail/9", "news/*"))
    drop = DocumentList(sources=("mali", "web-?"))
    _, counts = verdicts(tmp_path, keep, drop)
    assert counts["unmatched"] == [
        {"list": "list.drop", "field": "source", "entry": "mali"},
        {"list": "list.keep", "field": "id", "entry": "mail/9"},
        {"list": "list.keep", "field": "id", "entry": "news/*"},
    ]


def test_lists_may_be_files(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("# from the lawyers\nweb/1\nweb/2\n")
    drop = DocumentList(ids=("mail/2", "web/1"), ids_file=str(tmp_path / "ids.txt"))
    assert drop.resolved() == DocumentList(ids=("mail/2", "web/1", "web/2"))
    rows, _ = verdicts(tmp_path, DocumentList(), drop)
    assert [name for name, row in rows.items() if row["listed"] == "drop"] == ["mail/2", "web/1", "web/2"]
    with pytest.raises(ValueError, match=r"the list .*none\.txt cannot be read"):
        verdicts(tmp_path, DocumentList(ids_file=str(tmp_path / "none.txt")), drop)


def test_a_source_needs_its_column(tmp_path: Path) -> None:
    rows = [{"id": "a", "language": None, "words": 1}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "old.parquet")
    with pytest.raises(ValueError, match="no column source"):
        judge([tmp_path / "old.parquet"], [RULES], tmp_path / "v.parquet", drop=DocumentList(sources=("x",)))


def matches(pattern: str, text: str) -> bool:
    if "*" not in pattern and "?" not in pattern:
        return pattern == text
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(matches_rest(pattern[1:], text[at:]) for at in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and matches_rest(pattern[1:], text[1:])


def matches_rest(pattern: str, text: str) -> bool:
    return pattern == text if "*" not in pattern and "?" not in pattern else matches(pattern, text)


NAMES = st.text(alphabet="ab/[]*?\\'\n-!^", max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(NAMES.filter(bool), max_size=4, unique=True), st.lists(NAMES, min_size=1, max_size=6, unique=True))
def test_patterns_mean_what_they_say(patterns: list[str], names: list[str]) -> None:
    with connect("200MB", 1, Path("unused")) as connection:
        connection.execute("CREATE TABLE documents AS SELECT unnest(?::VARCHAR[]) AS id", [names])
        lists = DocumentLists(connection, DocumentList(ids=tuple(patterns)), DocumentList())
        found = connection.execute(f"SELECT id FROM documents WHERE {lists.reason()} = 'list.keep'").fetchall()
        unmatched = {row["entry"] for row in lists.unmatched("documents")}
    assert {row[0] for row in found} == {name for name in names if any(matches(p, name) for p in patterns)}
    assert unmatched == {p for p in patterns if not any(matches(p, name) for name in names)}
