"""The picture of a study: everything stands in its frame, and nothing on something else."""

from xml.etree import ElementTree

import pytest

from tasks.pages.study_picture import HEIGHT, LEFT, RIGHT, Series, picture_of

SVG = "{http://www.w3.org/2000/svg}"


def drawn(metric: str, series: list[Series]) -> ElementTree.Element:
    return ElementTree.fromstring(picture_of(metric, series))


def system(name: str, *points: tuple[int, float]) -> Series:
    return Series(name, [(labels, value, value - 0.05, value + 0.05) for labels, value in points])


@pytest.mark.parametrize("count", [1, 2, 10, 25])
def test_points_of_many_systems_stay_in_the_frame(count: int) -> None:
    picture = drawn("accuracy", [system(f"s{n}", (100, 0.5), (1000, 0.6), (67349, 0.7)) for n in range(count)])
    places = [float(circle.get("cx") or 0) for circle in picture.iter(f"{SVG}circle")]
    assert len(places) == 3 * count
    assert LEFT < min(places) <= max(places) < RIGHT
    assert len(set(places)) == 3 * count  # none hides another
    rows = [float(text.get("y") or 0) for text in picture.iter(f"{SVG}text") if (text.text or "").startswith("s")]
    assert len(rows) == count
    assert max(rows) < float(picture.get("height") or 0)


def test_names_fit_beside_the_frame() -> None:
    for name in ("gpt", "a system with a name that is rather long", "词向量加双向长短期记忆"):
        picture = drawn("accuracy", [system(name, (100, 0.5))])
        [text] = [text for text in picture.iter(f"{SVG}text") if text.text == name]
        size = 13 if ord(name[0]) > 0x3000 else 6.5  # of a character, at least
        assert float(text.get("x") or 0) + size * len(name) < float(picture.get("width") or 0)


def test_figures_below_the_axis_do_not_run_together() -> None:
    picture = drawn("entity_f1", [system("gpt", (8, 0.5), (60, 0.6), (63, 0.7))])
    said = [text.text for text in picture.iter(f"{SVG}text") if text.get("text-anchor") == "middle"]
    assert said == ["8", "63", "labels (logarithmic)"]
    assert "entity f1" in [text.text for text in picture.iter(f"{SVG}text")]


def test_what_is_below_nothing_stands_above_the_axis() -> None:
    picture = drawn("matthews", [system("gpt", (100, 0.0)), system("bert", (100, 0.4))])
    [base] = [
        line for line in picture.iter(f"{SVG}line") if line.get("class") == "base" and line.get("x1") == str(int(LEFT))
    ]
    lows = [
        float(line.get("y1") or 0) for line in picture.iter(f"{SVG}line") if (line.get("class") or "").startswith("s")
    ]
    assert max(lows) < float(base.get("y1") or 0) < HEIGHT
