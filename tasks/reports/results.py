"""The pictures of the report: fine-tuning and lineage. Each returns an SVG, or None when there is nothing to draw."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from tasks.reports.data import Difference, LineageNode, System
from tasks.reports.figures import WIDE
from tasks.reports.format import count, decimal, fit, points, share
from tasks.reports.svg import Plot, Scale, line, picture, rectangle, tag, text

MOST_CLASSES = 40
MOST_NODES = 60


def accuracies(systems: Sequence[System], majority: float | None) -> Markup | None:
    """One row per system: hollow dots for seeds, a filled mark for the mean, a bar for the interval."""
    rows = [s for s in systems if s.seeds or s.accuracy]
    if not rows:
        return None
    values = [] if majority is None else [majority]
    values += [x.accuracy for s in rows for x in s.seeds]
    values += [v for s in rows if s.accuracy for v in (s.accuracy.low, s.accuracy.high)]
    low, high = max(0.0, min(values) - 0.05), min(1.0, max(values) + 0.05)
    left, pitch, top = 178.0, 46.0, 34.0
    bottom = top + pitch * len(rows)
    plot = Plot(Scale(low, high, left, WIDE - 92), Scale(0, 1, bottom, top))
    shapes = []
    for value in plot.x.ticks(8):
        x = plot.x(value)
        shapes += [line(x, top, x, bottom, "rule"), text(x, bottom + 18, f"{100 * value:g} %", "tick", "middle")]
    if majority is not None:
        x = plot.x(majority)
        shapes += [line(x, top - 8, x, bottom, "baseline"), text(x + 5, top - 2, "largest class", "tick")]
    for i, system in enumerate(rows):
        y = top + pitch * (i + 0.5)
        colour = {"pretrained": "accent", "scratch": "warm", "baseline": "dark"}[system.role]
        shapes.append(text(left - 14, y + 4, fit(system.name, left - 20, 13), "strong", "end"))
        if system.accuracy is not None:
            a = system.accuracy
            shapes.append(line(plot.x(a.low), y - 6, plot.x(a.high), y - 6, f"interval {colour}-line"))
            shapes.append(rectangle(plot.x(a.value) - 2, y - 14, 4, 16, colour, share(a.value)))
            shapes.append(text(WIDE - 80, y + 4, share(a.value), "strong"))
        for seed in system.seeds:
            tip = f"seed {seed.seed}: {share(seed.accuracy)}"
            shapes.append(
                tag(
                    "circle", tag("title", tip), cx=plot.x(seed.accuracy), cy=y + 9, r=4.5, class_=f"ring {colour}-line"
                )
            )
    return picture(WIDE, bottom + 28, "Test accuracy of each system", *shapes)


def difference(found: Difference) -> Markup | None:
    """The difference of two systems in percentage points with its interval, against zero."""
    a = found.accuracy
    if not all(map(math.isfinite, (a.value, a.low, a.high))):
        return None
    reach = 100 * max(a.high, 0.0), 100 * min(a.low, 0.0)
    room = 0.12 * max(1.0, reach[0] - reach[1])
    left, y, bottom = 178.0, 28.0, 54.0
    scale = Scale(reach[1] - room, reach[0] + room, left, WIDE - 92)
    shapes = []
    for value in scale.ticks(8):
        shapes.append(line(scale(value), 8, scale(value), bottom, "zero" if value == 0 else "rule"))
        shapes.append(
            text(scale(value), bottom + 18, f"{value:+g}".replace("-", "−") if value else "0", "tick", "middle")
        )
    shapes.append(text(left - 14, y + 4, "difference, points", "strong", "end"))
    shapes.append(line(scale(100 * a.low), y, scale(100 * a.high), y, "interval accent-line"))
    shapes.append(rectangle(scale(100 * a.value) - 2, y - 9, 4, 18, "accent", points(a.value)))
    shapes.append(text(WIDE - 80, y + 4, points(a.value), "strong"))
    return picture(WIDE, bottom + 28, f"{found.first} minus {found.second}, percentage points", *shapes)


def confusion(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Markup | None:
    """Heat map: rows are the true class, columns the predicted, colour the share of the row, figures the counts."""
    n = len(labels)
    if not 1 < n <= MOST_CLASSES or len(counts) != n or any(len(row) != n for row in counts):
        return None
    cell = min(46.0, 520.0 / n)
    left, top = 128.0, 96.0
    font = min(12.0, cell * 0.42)
    shapes = []
    for i, row in enumerate(counts):
        y = top + i * cell
        shapes.append(text(left - 8, y + cell / 2 + 4, fit(labels[i], left - 12), "tick ink", "end"))
        x = left + (i + 0.5) * cell
        name = text(0, 0, fit(labels[i], 104), "tick ink")
        shapes.append(tag("g", name, transform=f"translate({x + 3:.1f} {top - 8:g}) rotate(-45)"))
        for j, items in enumerate(row):
            part = items / sum(row) if sum(row) else 0.0
            tip = f"{labels[i]} taken for {labels[j]}: {count(items)} ({share(items, sum(row))} of the row)"
            box = {"x": left + j * cell, "y": y, "width": cell - 1, "height": cell - 1}
            shapes.append(tag("rect", class_="cell", **box))
            shapes.append(tag("rect", tag("title", tip), class_="heat", fill_opacity=round(part, 3), **box))
            if items and font >= 6:
                style = "on-accent" if part > 0.5 else "ink"
                middle = left + (j + 0.5) * cell - 0.5
                figure = tag(
                    "text",
                    count(items),
                    x=middle,
                    y=y + cell / 2 + font / 3,
                    font_size=font,
                    class_=f"figure {style}",
                    text_anchor="middle",
                )
                shapes.append(figure)
    shapes.append(text(left + n * cell / 2, top + n * cell + 20, "predicted →", "axis", "middle"))
    shapes.append(text(left - 8, top - 8, "true ↓", "axis", "end"))
    return picture(left + n * cell + 80, top + n * cell + 28, "Confusion matrix", *shapes)


def lineage(nodes: Sequence[LineageNode]) -> Markup | None:
    """One row per artifact, inputs above what is made from them, joined by arcs on the left."""
    if not 1 < len(nodes) <= MOST_NODES:
        return None
    pitch, axis = 25.0, 150.0
    row_of = {node.key: i for i, node in enumerate(nodes)}
    longest = max((abs(i - row_of[k]) for i, n in enumerate(nodes) for k in n.inputs if k in row_of), default=1)
    arcs, rows = [], []
    for i, node in enumerate(nodes):
        y = 20 + pitch * i
        for key in dict.fromkeys(node.inputs):
            if key in row_of:
                above = 20 + pitch * row_of[key]
                bulge = 22 + 118 * (abs(i - row_of[key]) - 1) / max(1, longest - 1)
                d = f"M{axis:g} {above:g}C{axis - bulge:.1f} {above:g} {axis - bulge:.1f} {y:g} {axis:g} {y:g}"
                arcs.append(tag("path", tag("title", f"{nodes[row_of[key]].stage} → {node.stage}"), d=d, class_="arc"))
        rows.append(tag("circle", cx=axis, cy=y, r=4, class_="accent" if node.inputs else "dark"))
        rows.append(text(axis + 14, y + 4, fit(node.stage, 150, 13), "strong"))
        rows.append(text(axis + 172, y + 4, fit(node.note or "", 330), "tick"))
        rows.append(text(WIDE - 250, y + 4, fit(node.key, 112, 11.5), "mono"))
        if node.digest:
            rows.append(text(WIDE - 118, y + 4, fit(node.digest, 108, 11.5), "mono"))
    head = [
        text(axis + 14, 2, "artifact", "axis"),
        text(WIDE - 250, 2, "key", "axis"),
        text(WIDE - 118, 2, "digest", "axis"),
    ]
    shifted = tag("g", *head, *arcs, *rows, transform="translate(0 10)")
    return picture(WIDE, 24 + pitch * len(nodes), "Artifacts and what they were made from", shifted)


def p_value(value: float | None) -> str:
    """A p-value in words."""
    if value is None:
        return ""
    return "p\u00a0<\u00a00.001" if value < 0.001 else f"p\u00a0=\u00a0{decimal(value)}"
