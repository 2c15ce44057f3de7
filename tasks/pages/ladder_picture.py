"""The pictures of a ladder: what a bit per byte costs, in seconds or in parameters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tasks.reports.format import decimal, duration, fit, short
from tasks.reports.svg import Plot, Scale, line, path, picture, tag, text, tip_of

Row = Mapping[str, Any]

WIDTH, HEIGHT = 470.0, 330.0
NAMES = 118.0  # of the width, for the names at the right
PITCH = 15.0  # between two names
COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "seconds": ("seconds to make it (logarithmic)", duration),
    "parameters": ("parameters (logarithmic)", short),
}
COUNTED = "ngram"
"""The kind that is counted and not trained: grey."""


def cost_of_bits(rows: Sequence[Row], cost: str) -> Markup | None:
    """Bits per byte against `cost`, a key of `COSTS`: a dot and a name for each model, and a line through those that
    none with less of it beats. None for fewer than two models."""
    if len(rows) < 2:
        return None
    label, written = COSTS[cost]
    costs, bits = [max(row[cost], 1e-3) for row in rows], [row["bits_per_byte"] for row in rows]
    height = max(HEIGHT, 90 + PITCH * len(rows))
    margin = 0.08 * (max(bits) - min(bits)) or 0.1
    right, bottom = WIDTH - NAMES, height - 48
    plot = Plot(
        Scale(min(costs) / 1.5, max(costs) * 1.5, 50, right - 26, log=True),
        Scale(min(bits) - margin, max(bits) + margin, bottom, 34),
    )
    ticks = plot.x.ticks(5)
    frame = plot.frame(label, "bits per byte", written, lambda value: decimal(value, 2), ticks)
    best = [(plot.x(costs[i]), plot.y(bits[i])) for i in undefeated(costs, bits)]
    shapes = [frame, tag("path", d=path(best), class_="curve-faint")] if len(best) > 1 else [frame]
    order = sorted(range(len(rows)), key=lambda i: -bits[i])
    places = apart([plot.y(bits[i]) for i in order], PITCH, 34, bottom)
    for i, place in zip(order, places, strict=True):
        row, x, y = rows[i], plot.x(costs[i]), plot.y(bits[i])
        tip = f"{row['model']}: {decimal(bits[i], 4)} bits per byte, {written(row[cost])}"
        style = "faint" if row["kind"] == COUNTED else "accent"
        shapes.append(line(x + 5, y, right - 4, place, "rule"))
        shapes.append(tag("circle", *tip_of(tip), cx=x, cy=y, r=4, class_=style))
        shapes.append(text(right, place + 4, fit(row["model"], NAMES), "ink"))
    return picture(WIDTH, height, f"Bits per byte against {cost}", *shapes)


def undefeated(costs: Sequence[float], bits: Sequence[float]) -> list[int]:
    """Those than which none costs as little or less and is better, by rising cost."""
    found: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], bits[i])):
        if not found or bits[i] < bits[found[-1]]:
            found.append(i)
    return found


def apart(wanted: Sequence[float], pitch: float, top: float, bottom: float) -> list[float]:
    """Places that rise by `pitch` at least, near the rising places `wanted`, and inside top .. bottom if there is
    room."""
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + pitch) if places else max(place, top))
    over = places[-1] - bottom if places else 0.0
    for i in reversed(range(len(places))):
        if over > 0:
            limit = bottom - pitch * (len(places) - 1 - i)
            places[i] = min(places[i], limit)
    return places
