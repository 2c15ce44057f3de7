"""The page of a ladder: its figures, its pictures, and foreign text that stays text."""

import itertools
import re
from typing import Any

import pytest

from tasks.pages.ladder_page import ladder_page
from tasks.pages.ladder_picture import apart, cost_of_bits, undefeated
from tasks.reports.format import short
from tasks.running.visible import visible
from tests.tasks.test_report_page import ATTACKS, Page


def row(
    model: str, kind: str, bits: float, parameters: int, seconds: float, sample: str = "a sample"
) -> dict[str, Any]:
    return {
        "model": model,
        "kind": kind,
        "bits_per_byte": bits,
        "carried_bits_per_byte": bits - 0.25 if kind == "rnn" else None,
        "perplexity_per_token": 2.0**bits,
        "perplexity_per_word": 1234.5,
        "parameters": parameters,
        "tokens": 1_500_000,
        "seconds": seconds,
        "tokens_per_second": 1_500_000 / seconds,
        "peak_bytes": 400 << 20,
        "artifact": "pretrain/0a1b2c3d4e5f",
        "sample": sample,
    }


ROWS = [
    row("gpt", "gpt", 1.8123, 3_000_000, 320.0),
    row("lstm", "rnn", 1.9004, 2_900_000, 410.0),
    row("trigram", "ngram", 2.4321, 5_100_000, 3.2),
    row("unigram", "ngram", 3.1, 8_192, 1.1),
]


def test_it_says_what_the_board_says() -> None:
    html = ladder_page("small-ladder", ROWS, "Return the ", 130_560, 521_345)
    page = Page(html)
    assert page.text.count("1.6504") == 1  # the LSTM's, its state carried
    assert "4 models of 3 kinds on 521\u202fkB of held-out text (130,560 tokens)." in page.text
    assert "gpt needs 41.5\u202f% fewer bits than unigram." in page.text
    for each in ROWS:
        for figure in (f"{each['bits_per_byte']:.4f}", short(each["parameters"]), each["artifact"]):
            assert figure in page.text
    assert page.text.index("1.8123") < page.text.index("1.9004") < page.text.index("3.1000")
    assert "5 min 20\u202fs" in page.text.replace("\u202fmin", " min")
    assert [a["aria-label"] for tag, a in page.elements if tag == "svg" and "aria-label" in a] == [
        "Bits per byte against seconds",
        "Bits per byte against parameters",
    ]
    assert html == ladder_page("small-ladder", ROWS, "Return the ", 130_560, 521_345)


def test_it_loads_nothing_and_runs_nothing() -> None:
    page = Page(ladder_page("x", ROWS, "", 1, 1))
    assert not {"script", "img", "link", "iframe"} & {tag for tag, _ in page.elements}
    assert not [a for _, of in page.elements for a in of if a.startswith("on") or a in ("src", "style")]
    [policy] = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("attack", ATTACKS)
def test_foreign_text_stays_text(attack: str) -> None:
    rows = [row(attack, "gpt", 1.5, 10, 1.0, attack), row("b", attack, 2.5, 20, 2.0, attack)]
    plain = Page(ladder_page("x", [row("a", "gpt", 1.5, 10, 1.0), row("b", "gpt", 2.5, 20, 2.0)], "p", 9, 9))
    page = Page(ladder_page(attack, rows, attack, 9, 9))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert page.text.count(visible(attack).strip()) >= 5


def test_one_model_has_no_picture_and_no_rival() -> None:
    page = Page(ladder_page("x", ROWS[:1], "", 2_000, 9_000))
    assert "One model on 9.00\u202fkB of held-out text (2,000 tokens)." in page.text
    assert "What a bit costs" not in page.text
    assert "carried" not in page.text
    assert "From the beginning of a document" in page.text


def test_the_line_joins_what_none_cheaper_beats() -> None:
    assert undefeated([320.0, 410.0, 3.2, 1.1], [1.81, 1.90, 2.43, 3.1]) == [3, 2, 0]
    assert undefeated([1.0, 1.0, 2.0], [2.0, 1.0, 1.0]) == [1]
    drawing = str(cost_of_bits(ROWS, "seconds"))
    assert drawing.count("<circle") == 4
    assert drawing.count('class="faint"') == 2
    line = re.search(r'd="(M[^"]*)" class="curve-faint"', drawing)
    assert line is not None
    assert line[1].count("L") == 2
    across = [float(x) for x in re.findall(r'<circle cx="([0-9.]+)"', drawing)]  # the worst first, the best last
    assert sorted(across) == [across[i] for i in (0, 1, 3, 2)]
    for name in ("gpt", "lstm", "trigram", "unigram"):
        assert f">{name}</text>" in drawing


def test_names_do_not_lie_on_each_other() -> None:
    found = apart([50.0, 51.0, 52.0, 200.0, 299.0, 300.0], 15, 34, 300)
    assert found == [50.0, 65.0, 80.0, 200.0, 285.0, 300.0]
    many = apart([100.0] * 30, 15, 34, 480)
    assert all(b - a >= 14.999 for a, b in itertools.pairwise(many))
    assert many[-1] == 480
    assert apart([], 15, 0, 9) == []
