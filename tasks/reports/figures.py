"""The pictures of the report: corpus and training. Each returns an SVG, or None when there is nothing to draw."""

import math
from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from tasks.reports.data import FamilySize, FunnelStep, LengthHistogram, Point, Pretraining
from tasks.reports.format import count, decimal, fit, share, short, size
from tasks.reports.svg import Plot, Scale, line, path, picture, rectangle, tag, text

WIDE = 920.0
HALF = 450.0
MOST_POINTS = 400


def bar(value: float | None, largest: float, *, of: float | None = None, tip: str | None = None) -> Markup:
    """A bar for a table cell, 100 units long for `largest`; with `of`, on a grey bar of that length."""
    parts = [] if of is None or not largest else [rectangle(0, 0, 100 * of / largest, 10, "grey")]
    if value is not None and largest:
        parts.append(rectangle(0, 0, 100 * value / largest, 10, "accent", tip))
    return tag("svg", *parts, class_="bar", viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true")


def funnel(steps: Sequence[FunnelStep]) -> Markup | None:
    """The corpus from step to step: the height of a bar is what the step let out, the band between bars what flows.

    Heights are bytes, or documents when bytes were not counted; a step without that figure keeps the height before it.
    """
    in_bytes = any(step.out.bytes for step in steps)
    amounts = [step.out.bytes if in_bytes else step.out.documents for step in steps]
    largest = max((a for a in amounts if a), default=0)
    if len(steps) < 2 or not largest:
        return None
    top, bottom, thick = 66.0, 226.0, 12.0
    column = (WIDE - 110) / (len(steps) - 1)
    parts: list[Markup] = []
    before: float | None = None
    for i, (step, amount) in enumerate(zip(steps, amounts, strict=True)):
        x = i * column
        known = amount if amount is not None else before
        height = (bottom - top) * (known or 0) / largest
        if before is not None:
            parts.append(_band(x - column + thick, x, bottom, (bottom - top) * before / largest, height))
            lost = before - (known or 0)
            if lost > 0:
                what = size(lost) if in_bytes else count(lost)
                # a divided corpus loses nothing: the rest is valid, test, ...; nor does one of which a part goes on
                aside = bool(steps[i - 1].parts) or step.into is not None
                below = "set aside" if aside else share(lost, before)
                parts.append(text(x - column + thick + 10, bottom + 20, f"− {what}", "tick" if aside else "loss"))
                parts.append(text(x - column + thick + 10, bottom + 36, below, "tick"))
        parts.append(_funnel_bar(step, x, bottom, height, thick, in_bytes))
        main = size(step.out.bytes) if in_bytes and step.out.bytes is not None else None
        documents = None if step.out.documents is None else f"{count(step.out.documents)} doc."
        tokens = None if step.out.tokens is None else f"{short(step.out.tokens)} tokens"
        parts.append(text(x, 14, fit(step.name, column - 8, 13), "strong"))
        for row, words in enumerate([words for words in (tokens, main, documents) if words][:2]):
            parts.append(text(x, 31 + 16 * row, words, "tick"))
        before = known
    parts.append(line(0, bottom, WIDE, bottom, "base"))
    what = "bytes" if in_bytes else "documents"
    return picture(WIDE, 272, f"Funnel of {what} over the steps of the pipeline", *parts)


def _band(left: float, right: float, bottom: float, high: float, low: float) -> Markup:
    middle = (left + right) / 2
    a, b = bottom - high, bottom - low
    d = f"M{left:.1f} {a:.1f}C{middle:.1f} {a:.1f} {middle:.1f} {b:.1f} {right:.1f} {b:.1f}V{bottom:g}H{left:.1f}Z"
    return tag("path", d=d, class_="flow")


def _funnel_bar(step: FunnelStep, x: float, bottom: float, height: float, thick: float, in_bytes: bool) -> Markup:
    pieces = [(p.name, (p.amount.bytes if in_bytes else p.amount.documents) or 0) for p in step.parts]
    total = sum(amount for _, amount in pieces)
    if not total:
        return rectangle(x, bottom - height, thick, height, "accent")
    drawn, y, free_until = [], bottom, math.inf
    for name, amount in pieces:
        tall = height * amount / total
        y -= tall
        words = size(amount) if in_bytes else count(amount)
        drawn.append(rectangle(x, y + 0.6, thick, max(0.6, tall - 1.2), "accent", f"{name}: {words}"))
        label = y + tall / 2 + 4
        if tall >= 4 and label <= free_until:
            drawn.append(text(x + thick + 6, label, name, "tick"))
            free_until = label - 13
    return tag("g", *drawn)


def lengths(histogram: LengthHistogram) -> Markup | None:
    """Documents by length, raw (grey) against kept (accent), on a logarithmic length axis."""
    edges, raw, kept = histogram.edges, histogram.raw, histogram.kept
    if len(edges) != len(raw) + 1 or not any(raw) or edges[0] <= 0:
        return None
    plot = Plot(Scale(edges[0], edges[-1], 52, HALF - 22, log=True), Scale(0, max([*raw, *kept]) * 1.04, 218, 28))
    shapes = []
    for counts, name in ((raw, "grey"), (kept, "accent")):
        for i, documents in enumerate(counts[: len(raw)]):
            if not documents:
                continue
            left, right, y = plot.x(edges[i]), plot.x(edges[i + 1]), plot.y(documents)
            tip = f"{short(edges[i])} to {short(edges[i + 1])} {histogram.unit}: {count(documents)} documents"
            shapes.append(rectangle(left + 0.4, y, right - left - 0.8, plot.y.start - y, name, tip))
    for median, name in ((histogram.raw_median, "mark-grey"), (histogram.kept_median, "mark-accent")):
        if median is not None and median > 0:
            shapes.append(line(plot.x(median), plot.y.start, plot.x(median), plot.y.end, name))
    frame = plot.frame(f"{histogram.unit} per document", "documents", _tick, _tick)
    return picture(HALF, 262, f"Histogram of {histogram.unit} per document", frame, *shapes)


def family_sizes(sizes: Sequence[FamilySize]) -> Markup | None:
    """How many duplicate families have each size: dots on stems, both axes logarithmic."""
    known = sorted((s.size, s.families) for s in sizes if s.size > 0 and s.families > 0)
    if not known:
        return None
    widest, most = max(s for s, _ in known), max(f for _, f in known)
    plot = Plot(
        Scale(1.7, max(10, widest * 1.15), 52, HALF - 22, log=True), Scale(0.7, max(10, most * 1.3), 218, 28, True)
    )
    shapes = []
    for members, families in known:
        x, y = plot.x(members), plot.y(families)
        shapes.append(line(x, plot.y.start, x, y, "stem"))
        tip = f"{count(families)} families of {count(members)} documents"
        shapes.append(tag("circle", tag("title", tip), cx=x, cy=y, r=3.5, class_="accent"))
    frame = plot.frame("documents in the family", "families", _tick, _tick)
    return picture(HALF, 262, "Number of duplicate families by size", frame, *shapes)


def loss(training: Pretraining) -> Markup | None:
    """Bits per byte over steps: training in grey, validation in the accent colour, held-out baselines as rules."""
    train, valid = thinned(training.train), thinned(training.valid)
    if not train and not valid:
        return None
    rules = [("unigram", training.unigram), ("untrained", training.untrained)]
    known = [(name, v) for name, v in rules if v is not None and math.isfinite(v)]
    values = [p.value for p in (*train, *valid)] + [v for _, v in known]
    low, high = min(values), max(values)
    room = 0.06 * (high - low or 1.0)
    last = max(p.step for p in (*train, *valid))
    plot = Plot(Scale(0, max(1, last), 52, WIDE - 118, False), Scale(max(0.0, low - room), high + room, 292, 28))
    shapes = [_curve(plot, train, "curve-grey"), _curve(plot, valid, "curve-accent")]
    if len(valid) <= 60:
        shapes += [
            tag(
                "circle",
                tag("title", f"step {count(p.step)}: {decimal(p.value)}"),
                cx=plot.x(p.step),
                cy=plot.y(p.value),
                r=3,
                class_="accent",
            )
            for p in valid
        ]
    labels = [(plot.y(v), f"{name} {decimal(v, 2)}", "tick") for name, v in known]
    shapes += [line(plot.x.start, plot.y(v), plot.x.end, plot.y(v), "baseline") for _, v in known]
    for points, name, style in ((valid, "validation", "strong accent-text"), (train, "training", "tick")):
        if points:
            labels.append((plot.y(points[-1].value), f"{name} {decimal(points[-1].value, 2)}", style))
    for y, words, style in _spread(labels, 15.0):
        shapes.append(text(plot.x.end + 8, y + 4, words, style))
    frame = plot.frame("optimizer step", "bits per byte", _tick, lambda v: f"{v:g}")
    return picture(WIDE, 336, "Training and validation bits per byte over optimizer steps", frame, *shapes)


def small_curve(points: Sequence[Point], name: str, width: float = HALF) -> Markup | None:
    """A small plot of one figure over steps."""
    points = thinned(points)
    if not points:
        return None
    highest = max(p.value for p in points)
    plot = Plot(
        Scale(0, max(1, max(p.step for p in points)), 62, width - 22), Scale(0, (highest or 1.0) * 1.06, 138, 28)
    )
    frame = plot.frame("optimizer step", name, _tick, _tick, y_most=3)
    return picture(width, 180, f"{name} over optimizer steps", frame, _curve(plot, points, "curve-accent"))


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most `most` points: means over equal runs of finite points, in the order of their steps."""
    finite = sorted((p for p in points if math.isfinite(p.value)), key=lambda p: p.step)
    if len(finite) <= most:
        return finite
    cuts = [len(finite) * i // most for i in range(most + 1)]
    runs = [finite[a:b] for a, b in pairwise(cuts)]
    return [Point(step=run[-1].step, value=math.fsum(p.value for p in run) / len(run)) for run in runs]


def _curve(plot: Plot, points: Sequence[Point], class_: str) -> Markup:
    if not points:
        return Markup("")
    return tag("path", d=path((plot.x(p.step), plot.y(p.value)) for p in points), class_=class_)


def _spread(labels: list[tuple[float, str, str]], gap: float) -> list[tuple[float, str, str]]:
    """The labels at rising heights, each at least `gap` below the one above it."""
    placed: list[tuple[float, str, str]] = []
    for y, words, style in sorted(labels):
        placed.append((max(y, placed[-1][0] + gap) if placed else y, words, style))
    return placed


def _tick(value: float) -> str:
    if 0 < abs(value) < 0.01:
        mantissa, _, exponent = f"{value:.0e}".partition("e")
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    return f"{value:,.6g}" if abs(value) < 100_000 else short(value)
