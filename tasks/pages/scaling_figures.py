"""The pictures of a scaling study: SVG files that stand by themselves."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from markupsafe import Markup

from tasks.reports.format import short
from tasks.reports.svg import Plot, Scale, line, path, rectangle, tag, text

STYLE = """
svg { font-family: system-ui, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif; }
text { font-size: 12px; fill: #55606c; } text.axis { fill: #7b8691; }
text.strong { fill: #1a1f25; font-size: 13px; font-weight: 600; }
.page { fill: #ffffff; } .rule { stroke: #dde2e7; } .base { stroke: #7b8691; }
.accent { fill: #0a64ad; } .faint { fill: #c3cad2; } .warm { fill: #bf4f12; }
.law { fill: none; stroke: #0a64ad; stroke-width: 1.8; } .joint { fill: none; stroke: #7b8691; stroke-dasharray: 4 3; }
.held { fill: none; stroke: #0a64ad; stroke-width: 1.8; } .own { fill: none; stroke: #bf4f12; stroke-dasharray: 5 3; }
.interval { stroke: #bf4f12; stroke-width: 3; stroke-opacity: .45; }
.ring { fill: none; stroke: #bf4f12; stroke-width: 1.8; }
"""
WIDE, PANEL, HEIGHT = 1020.0, 340.0, 370.0
STEPS = 40

Row = Mapping[str, Any]


def loss_against_size(found: Row) -> Markup:
    """Bits per byte against parameters, tokens and compute: the runs (darker: larger in what the axis does not say),
    the joint law through each series, the power law, and the target as predicted and as measured, if it was."""
    count = found["count"]
    panels = [
        _panel(0, found, count, "tokens", "parameters", "parameters" if count == "all" else "parameters of the body"),
        _panel(1, found, "tokens", count, "data", "tokens"),
        _panel(2, found, "flops", None, "compute", "operations"),
    ]
    key = [
        rectangle(56, HEIGHT - 14, 8, 8, "accent"),
        text(70, HEIGHT - 6, "runs; line: power law, dashed: L(N, D)"),
        rectangle(356, HEIGHT - 14, 8, 8, "warm"),
        text(370, HEIGHT - 6, "the larger model: bar, as predicted before it was trained; ring, as measured"),
    ]
    return _file(WIDE, HEIGHT, "Held-out loss against parameters, data and compute", *panels, *key)


def loss_on_both_texts(rows: Sequence[Row]) -> Markup:
    """Bits per byte of held-out text (solid) and of the text trained on (dashed) against the model's size, a pair of
    lines for each text."""
    texts = sorted({row["text_tokens"] for row in rows})
    values = [row[key] for row in rows for key in ("bits_per_byte", "own_bits_per_byte")]
    plots = []
    width = 240.0
    for place, size in enumerate(texts):
        series = sorted((row for row in rows if row["text_tokens"] == size), key=lambda row: row["body"])
        left = place * width
        plot = Plot(_log([row["body"] for row in rows], left + 54, left + width - 12), _linear(values, 280, 56))
        shapes = [
            plot.frame("parameters of the body", "bits per byte" if not place else "", short, _plain, plot.x.ticks(3))
        ]
        for key, style, fill in (("own_bits_per_byte", "own", "warm"), ("bits_per_byte", "held", "accent")):
            points = [(plot.x(row["body"]), plot.y(row[key])) for row in series]
            shapes.append(tag("path", d=path(points), class_=style))
            shapes += [_dot(x, y, fill) for x, y in points]
        shapes.append(text(left + 54, 22, f"{short(size)} tokens of text", "strong"))
        plots.append(tag("g", *shapes))
    legend = [
        rectangle(56, 336, 8, 8, "accent"),
        text(70, 344, "held-out text"),
        rectangle(176, 336, 8, 8, "warm"),
        text(190, 344, "the text trained on"),
    ]
    return _file(
        width * len(texts), 360, "Held-out loss and loss on the own text by size of model and text", *plots, *legend
    )


def _panel(place: int, found: Row, quantity: str, other: str | None, law: str, label: str) -> Markup:
    """One of the three: `other` is what makes a series, None where the runs are one cloud."""
    runs, target, left = found["runs"], found["target"], place * PANEL
    measured = found.get("measured")
    losses = [run["bits_per_byte"] for run in runs] + ([measured["bits_per_byte"]] if measured else [])
    said = found["predicted"]["joint"]
    losses += [value for value in (said["low"], said["value"], said["high"]) if value < 2 * max(losses)]
    x = _log([*(run[quantity] for run in runs), target[quantity]], left + 56, left + PANEL - 16)
    plot = Plot(x, _linear(losses, HEIGHT - 72, 40))
    shapes = [plot.frame(label, "bits per byte" if not place else "", short, _plain, plot.x.ticks(5))]
    ranks = sorted({run[other] for run in runs}) if other else []
    for rank in ranks:
        shapes.append(_curve(plot, partial(_joint, found["laws"]["joint"], quantity, rank), "joint"))
    if fitted := found["laws"][law]:
        shapes.append(_curve(plot, lambda value: fitted["coefficient"] * value ** -fitted["exponent"], "law"))
    best = set(fitted["runs"]) if fitted and not other else set()
    for number, run in enumerate(runs):
        shade = 0.3 + 0.7 * (ranks.index(run[other]) + 1) / len(ranks) if other else 1.0
        fill = "accent" if other or number in best else "faint"
        shapes.append(_dot(plot.x(run[quantity]), plot.y(run["bits_per_byte"]), fill, shade))
    across = plot.x(target[quantity])
    shapes.append(line(across, plot.y(said["low"]), across, plot.y(said["high"]), "interval"))
    shapes.append(rectangle(across - 5, plot.y(said["value"]) - 1, 10, 2, "warm"))
    if measured:
        shapes.append(tag("circle", cx=across, cy=plot.y(measured["bits_per_byte"]), r=5, class_="ring"))
    return tag("g", *shapes)


def _joint(law: Row, quantity: str, other: float, value: float) -> float:
    size, tokens = (other, value) if quantity == "tokens" else (value, other)
    by_size = law["size_coefficient"] * size ** -law["size_exponent"]
    return float(law["irreducible"] + by_size + law["data_coefficient"] * tokens ** -law["data_exponent"])


def _curve(plot: Plot, of: Callable[[float], float], style: str) -> Markup:
    low, high = plot.x.low, plot.x.high
    values = [low * (high / low) ** (i / STEPS) for i in range(STEPS + 1)]
    inside = [(v, of(v)) for v in values if plot.y.low <= of(v) <= plot.y.high]
    return tag("path", d=path((plot.x(v), plot.y(y)) for v, y in inside), class_=style) if inside else Markup("")


def _dot(x: float, y: float, style: str, shade: float = 1.0) -> Markup:
    return tag("circle", cx=x, cy=y, r=3.2, class_=style, fill_opacity=round(shade, 2))


def _log(values: Sequence[float], start: float, end: float) -> Scale:
    return Scale(min(values) / 1.3, max(values) * 1.3, start, end, log=True)


def _linear(values: Sequence[float], bottom: float, top: float) -> Scale:
    margin = 0.06 * (max(values) - min(values)) or 0.1
    return Scale(min(values) - margin, max(values) + margin, bottom, top)


def _plain(value: float) -> str:
    return f"{value:g}"


def _file(width: float, height: float, label: str, *shapes: Markup) -> Markup:
    style = Markup(f"<style>{STYLE}</style>")
    box = f"0 0 {width:g} {height:g}"
    page = rectangle(0, 0, width, height, "page")
    namespace = "http://www.w3.org/2000/svg"
    return tag(
        "svg",
        style,
        page,
        *shapes,
        xmlns=namespace,
        viewBox=box,
        width=width,
        height=height,
        role="img",
        aria_label=label,
    )
