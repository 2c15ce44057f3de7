"""What documents, files and configurations are called does nothing on Prefect's pages, which show Markdown."""

import pytest

from tasks.running.prefect_text import cell, page, rows

EVIL = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](http://127.0.0.1/pixel.png)",
    "[our server](javascript:alert(1))",
    "`code`",
    "a\u202egpj.exe",
    "\x1b[31mred",
]


@pytest.mark.parametrize("text", EVIL)
def test_a_cell_shows_and_does_nothing(text: str) -> None:
    shown = cell(text)
    for active in "<[]`":
        assert shown.count(active) == shown.count(f"\\{active}")
    assert not any(character in shown for character in "\u202e\x1b\n")


def test_cells_keep_what_is_no_text() -> None:
    table = [{"file": "a_b*.txt", "count": 3, "share": 0.5, "none": None, "inner": {"name": "<b>"}, "list": ["[x]"]}]
    assert rows(table) == [
        {"file": "a_b*.txt", "count": 3, "share": 0.5, "none": None, "inner": {"name": "\\<b>"}, "list": ["\\[x\\]"]}
    ]


def test_a_page_keeps_its_markdown_and_loads_nothing_from_elsewhere() -> None:
    ours = "# A\n\n| a | b |\n|---|---|\n| 1 < 2 | **x** |\n\n![curve](study-1.svg) [report](file:///r.html)\n"
    assert page(ours) == ours
    shown = page("![x](http://127.0.0.1/p.png) ![y](../p.svg) <script src='x'></script> <!-- x -->")
    assert "![" not in shown.replace("\\!\\[", "")
    assert shown.count("<") == shown.count("\\<") == 3
