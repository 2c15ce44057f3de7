"""`textmill tune`: what its command line says, and what it prints of rules on numbers and on words."""

import pytest

from flows.cli import printing
from flows.cli.main import _threshold


@pytest.mark.parametrize(
    ("written", "threshold"),
    [("30", 30.0), ("1e-2", 0.01), ("de", "de"), ("[de]", ("de",)), ("[en, zh]", ("en", "zh"))],
)
def test_thresholds_are_numbers_words_or_lists_of_words(written: str, threshold: object) -> None:
    assert _threshold(written) == threshold


def test_words_are_printed_like_numbers() -> None:
    rules = [
        ("gopher_quality.gopher_short_doc", "<", [50.0, 30.0]),
        ("mine.foreign", "not in", [("en",), ("en", "zh")]),
        ("mine.new", "==", [None, "de"]),
    ]
    answer = {
        "documents": 9,
        "passed": [4, 6],
        "passed_bytes": [4_000, 6_000],
        "gained": 2,
        "lost": 0,
        "rules": [
            {"rule": rule, "operator": operator, "threshold": threshold, "documents": [3, 1], "bytes": [300, 100]}
            for rule, operator, threshold in rules
        ],
        "examples": {"gopher_quality.gopher_short_doc": [{"id": "d", "value": 40, "fires": False, "text": "A text."}]},
    }
    with printing.out.capture() as capture:
        printing.show_tuning(answer)
    for said in ("< 50 → 30", "not in en → en, zh", "== None → de", "40 pass  d"):
        assert said in capture.get()
