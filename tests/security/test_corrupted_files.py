"""The short form of `benchmarks.corrupted_files`: some hundred damaged files of every kind, each a typed error."""

from collections import Counter

import pytest

from benchmarks.corrupted_files import GOOD, run

pytestmark = pytest.mark.heavy


def test_damaged_files_are_typed_errors_and_nothing_else_happens() -> None:
    cases = list(run(count=300, seed=11))
    assert [case["number"] for case in cases] == list(range(300))
    # among what is not good: a file under a hash that was read with other content
    assert [case for case in cases if case["outcome"] not in GOOD] == []
    by_kind = Counter(case["kind"] for case in cases)
    refused = Counter(case["kind"] for case in cases if case["outcome"] == "typed error")
    assert set(refused) == set(by_kind)
