"""The pictures of the report: rules, sources and languages. Each returns an SVG; None when there is nothing to draw."""

from collections.abc import Sequence

from markupsafe import Markup

from tasks.reports.data import SourceRow
from tasks.reports.data_rules import Overlap, ThresholdCurve
from tasks.reports.figures import HALF, WIDE
from tasks.reports.format import count, fit, plain, share, size
from tasks.reports.svg import Plot, Scale, line, path, picture, rectangle, tag, text

MOST_REASONS = 20
SIGNS = {"<=": "≤", ">=": "≥"}


def overlap(found: Overlap) -> Markup | None:
    """Heat map: colour and figure are the share of a row's documents for which the column's reason holds too."""
    reasons = found.reasons[:MOST_REASONS]
    n = len(reasons)
    if n < 2 or len(found.documents) < n or any(len(row) < n for row in found.documents[:n]):
        return None
    left, top, right = 322.0, 26.0, 78.0
    cell = min(40.0, (WIDE - left - right) / n)
    shapes = [text(left + n * cell + 8, top - 9, "documents", "axis")]
    for i, reason in enumerate(reasons):
        y, middle = top + i * cell, top + (i + 0.5) * cell + 4
        whole = found.documents[i][i]
        shapes.append(text(0, middle, fit(reason, left - 40), "tick ink"))
        shapes.append(text(left - 8, middle, str(i + 1), "tick", "end"))
        shapes.append(text(left + (i + 0.5) * cell - 0.5, top - 9, str(i + 1), "tick", "middle"))
        shapes.append(text(left + n * cell + right - 4, middle, count(whole), "tick", "end"))
        shapes.append(rectangle(left, y, n * cell - 1, cell - 1, "cell"))
        for j, other in enumerate(reasons):
            x, both = left + j * cell, found.documents[i][j]
            if i == j:
                shapes.append(rectangle(x, y, cell - 1, cell - 1, "grey"))
            elif both and whole:
                tip = f"{count(both)} ({share(both, whole)}) of {reason} also meet {other}"
                shapes.append(_heat(x, y, cell, both / whole, tip))
    return picture(WIDE, top + n * cell + 4, "How often two reasons hold for one document", *shapes)


def _heat(x: float, y: float, cell: float, part: float, tip: str) -> Markup:
    box = {"x": x, "y": y, "width": cell - 1, "height": cell - 1}
    heat = tag("rect", tag("title", tip), class_="heat", fill_opacity=round(part, 3), **box)
    if round(100 * part) < 1 or cell < 20:
        return heat
    style = f"small figure {'on-accent' if part > 0.5 else 'ink'}"
    return tag("g", heat, text(x + cell / 2 - 0.5, y + cell / 2 + 3.5, f"{100 * part:.0f}", style, "middle"))


def threshold_curve(curve: ThresholdCurve) -> Markup | None:
    """Share of documents (accent) and of text (pale) that a rule drops, by its threshold; a rule at the present one."""
    at, n = curve.thresholds, len(curve.thresholds)
    if n < 2 or not curve.all_documents or not curve.all_bytes or (curve.logarithmic and at[0] <= 0):
        return None
    documents = [value / curve.all_documents for value in curve.documents[:n]]
    texts = [value / curve.all_bytes for value in curve.bytes[:n]]
    if len(documents) != n or len(texts) != n:
        return None
    highest = max([*documents, *texts]) or 1.0
    plot = Plot(Scale(at[0], at[-1], 52, HALF - 22, log=curve.logarithmic), Scale(0, min(1.0, highest * 1.06), 188, 30))
    shapes = [
        tag("path", d=path((plot.x(x), plot.y(y)) for x, y in zip(at, values, strict=True)), class_=style)
        for values, style in ((texts, "curve-faint"), (documents, "curve-accent"))
    ]
    x = plot.x(curve.threshold)
    shapes.append(line(x, plot.y.start, x, plot.y.end - 4, "mark-accent"))
    if curve.threshold in at:
        now = at.index(curve.threshold)
        tip = f"{share(documents[now])} of the documents, {share(texts[now])} of the text"
        shapes.append(tag("circle", tag("title", tip), cx=x, cy=plot.y(documents[now]), r=3.5, class_="accent"))
    frame = plot.frame(
        f"goes if {curve.signal} {SIGNS.get(curve.operator, curve.operator)}",
        "share dropped",
        plain,
        lambda value: f"{100 * value:g} %",
        x_ticks=plot.x.ticks(7),
    )
    words = f"now {plain(curve.threshold)}"
    side, anchor = (x - 5, "end") if x > HALF - 90 else (x + 5, None)
    shapes.append(text(side, plot.y.end - 4, words, "tick ink", anchor))
    return picture(HALF, 232, f"Share dropped by {curve.reason} at each threshold", frame, *shapes)


def source_bar(row: SourceRow, largest: float) -> Markup:
    """Where the bytes of a source went, for a table cell: kept, rules, duplicates, other, and in grey what was cut."""
    parts = [("accent", "kept", row.kept_bytes)]
    for style, words, amount in (
        ("warm", "dropped by rules", row.rules),
        ("dark", "duplicates", row.duplicates),
        ("faint", "dropped otherwise", row.other),
    ):
        parts.append((style, words, (amount.bytes if amount else 0) or 0))
    shapes: list[Markup] = []
    if largest:
        shapes.append(rectangle(0, 0, 100 * row.raw_bytes / largest, 10, "grey"))
        before = 0.0
        for style, words, value in parts:
            width = 100 * value / largest
            if value:
                shapes.append(rectangle(before, 0, width, 10, style, f"{words}: {size(value)}"))
            before += width
    return tag("svg", *shapes, class_="bar", viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true")


def before_and_after(before: float, after: float, largest: float) -> Markup:
    """Two thin bars for a table cell: grey before, accent after."""
    bars: Sequence[Markup] = []
    if largest:
        bars = [
            rectangle(0, 0, 100 * before / largest, 4.4, "grey"),
            rectangle(0, 5.6, 100 * after / largest, 4.4, "accent"),
        ]
    return tag("svg", *bars, class_="bar", viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true")
