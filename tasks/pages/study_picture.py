"""The picture of a study: a figure against the number of labels, a line for each system, with its intervals."""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from tasks.reports.svg import Child, Plot, Scale, line, path, picture, rectangle, tag, text

LEFT, RIGHT, HEIGHT = 60.0, 570.0, 380.0
"""Of the frame; beside it stand the names."""
BESIDE = 44.0
"""How far systems stand apart at most, all together, at one number of labels."""
COLOURS = ("#0a64ad", "#bf4f12", "#2f7d4f", "#7a4fa3", "#8a6d1b", "#3c4650", "#b0326b", "#1b8a8a")
DASHES = ("none", "7 3", "2 3", "8 3 2 3")
STYLE = (
    "text { font: 13px system-ui, sans-serif; fill: #3c4650; } .tick { font-size: 12px; } .axis { font-weight: 600; }"
    " .rule { stroke: #e3e7eb; } .base { stroke: #8b949e; } .page { fill: #fff; } path { fill: none; stroke-width: 2; }"
    + "".join(f" .s{n} {{ stroke: {colour}; }} .d{n} {{ fill: {colour}; }}" for n, colour in enumerate(COLOURS))
)


class Series(NamedTuple):
    """A system: (labels, figure, low, high) by rising labels."""

    name: str
    points: list[tuple[int, float, float, float]]


def picture_of(metric: str, series: Sequence[Series]) -> str:
    """An SVG file that needs no other. Colours repeat after eight systems, then with other dashes."""
    sizes = sorted({point[0] for of in series for point in of.points})
    values = [value for of in series for point in of.points for value in point[1:]]
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.05
    apart = min(5.0, BESIDE / len(series))
    room = 12 + apart * (len(series) - 1) / 2
    plot = Plot(
        Scale(sizes[0], sizes[-1], LEFT + room, RIGHT - room, log=True),
        Scale(low - margin if low < 0 else max(low - margin, 0.0), high + margin, HEIGHT - 52, 36),
    )
    width = RIGHT + 60 + max(_width(of.name) for of in series)
    height = max(HEIGHT, 66 + 22 * len(series))
    parts: list[Child] = [tag("style", Markup(STYLE)), rectangle(0, 0, width, height, "page")]
    parts.append(
        plot.frame(
            "labels (logarithmic)",
            metric.replace("_", " "),
            lambda value: f"{value:,.0f}",
            lambda value: f"{value:.2f}",
            x_ticks=_apart(plot.x, sizes),
            y_most=7,
            x_room=room,
        )
    )
    for number, of in enumerate(series):
        parts += _drawn(plot, number, of, apart * (number - (len(series) - 1) / 2))
        y = 44 + 22 * number
        dash = DASHES[number // len(COLOURS) % len(DASHES)]
        mark = tag("path", class_=f"s{number % len(COLOURS)}", d=path([(RIGHT + 14, y), (RIGHT + 38, y)]),
                   stroke_dasharray=dash)  # fmt: skip
        parts += [mark, text(RIGHT + 44, y + 4, of.name)]
    label = f"{metric} against labels: {', '.join(of.name for of in series)}"
    found = picture(width, height, label, *parts)
    return str(found).replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1) + "\n"


def _width(name: str) -> float:
    """About how many pixels a name takes."""
    return sum(13.5 if unicodedata.east_asian_width(character) in "WF" else 7.6 for character in name)


def _apart(scale: Scale, sizes: Sequence[int]) -> list[int]:
    """The sizes whose figures do not run into one another, the larger first: the largest is all there are."""
    kept: list[int] = []
    for size in reversed(sizes):
        if not kept or scale(kept[-1]) - scale(size) > 4 * (len(f"{size:,}") + len(f"{kept[-1]:,}")) + 6:
            kept.append(size)
    return kept[::-1]


def _drawn(plot: Plot, number: int, of: Series, beside: float) -> list[Child]:
    """A line, and at each of its points the interval; systems stand a little beside each other."""
    colour = number % len(COLOURS)
    dash = DASHES[number // len(COLOURS) % len(DASHES)]
    points = [(plot.x(labels) + beside, plot.y(value)) for labels, value, _, _ in of.points]
    parts: list[Child] = [tag("path", class_=f"s{colour}", d=path(points), stroke_dasharray=dash)]
    for (x, y), (labels, value, low, high) in zip(points, of.points, strict=True):
        tip = f"{of.name}, {labels:,} labels: {value:.3f} ({low:.3f} to {high:.3f})"
        parts.append(line(x, plot.y(low), x, plot.y(high), f"s{colour}"))
        parts.append(tag("circle", tag("title", tip), cx=x, cy=y, r=3.5, class_=f"d{colour}"))
    return parts
