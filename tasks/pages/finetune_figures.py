"""The pictures of a fine-tuning's report: the reliability diagram, and what single predictions hang on."""

from collections.abc import Sequence

from markupsafe import Markup

from lm.evaluate.metrics_calibration import Bin
from tasks.reports.figures import HALF, WIDE
from tasks.reports.format import THIN, count, share
from tasks.reports.svg import Plot, Scale, line, picture, rectangle, tag, text
from tasks.running.visible import visible

FONT = 12.0
GAP = 3.0
LINE = 26.0
MOST_LINES = 12


def reliability_diagram(bins: Sequence[Bin]) -> Markup:
    """How often predictions are right (bars) against how sure they are; on the diagonal both are equal.

    Below it the number of predictions in each bin, the largest 1.
    """
    plot = Plot(Scale(0, 1, 56, HALF - 28), Scale(0, 1, 262, 30))
    shapes = []
    for b in bins:
        if not b.predictions:
            continue
        x, width = plot.x(b.low), plot.x(b.high) - plot.x(b.low)
        tip = (
            f"{count(b.predictions)} predictions with {share(b.low)} to {share(b.high)}: "
            f"mean {share(b.confidence)}, right {share(b.accuracy)}"
        )
        shapes.append(rectangle(x + 1, plot.y(b.accuracy), width - 2, plot.y(0) - plot.y(b.accuracy), "flow", tip))
        shapes.append(
            tag("circle", tag("title", tip), cx=plot.x(b.confidence), cy=plot.y(b.accuracy), r=3.5, class_="accent")
        )
    diagonal = line(plot.x(0), plot.y(0), plot.x(1), plot.y(1), "baseline")
    frame = plot.frame("probability of what was predicted", "share that is right", _percent, _percent)
    most = max((b.predictions for b in bins), default=0) or 1
    top, high = 312.0, 34.0
    for b in bins:
        x, width, size = plot.x(b.low), plot.x(b.high) - plot.x(b.low), high * b.predictions / most
        shapes.append(rectangle(x + 1, top + high - size, width - 2, size, "grey", count(b.predictions)))
    shapes.append(text(plot.x(0), top + high + 16, f"how many in each bin, at most {count(most)}", "tick"))
    return picture(HALF, top + high + 24, "Reliability diagram", frame, diagonal, *shapes)


def saliency_picture(tokens: Sequence[str], scores: Sequence[float], target: str, width: float = WIDE) -> Markup:
    """The text as the model reads it, token by token; behind each what it gives the prediction (blue) or takes from it
    (orange), the strongest full."""
    most = max((abs(score) for score in scores), default=0.0) or 1.0
    x, y, drawn = 0.0, 0.0, []
    left_out = 0
    for place, (token, score) in enumerate(zip(tokens, scores, strict=True)):
        written = visible(token).replace("\n", "↵").strip() or "␣"
        room = _width(written)
        if x + room > width:
            x, y = 0.0, y + LINE
        if y >= MOST_LINES * LINE:
            left_out = len(tokens) - place
            break
        part = score / most
        tip = f"{written}: {part:+.2f} of the strongest".replace("-", "−")
        box = {"x": x, "y": y + 3, "width": room - GAP, "height": LINE - 6}
        class_ = "accent" if part >= 0 else "warm"
        drawn.append(tag("rect", tag("title", tip), class_=class_, fill_opacity=round(0.75 * abs(part), 3), **box))
        drawn.append(text(x + (room - GAP) / 2, y + LINE / 2 + 4, written, "ink", "middle"))
        x += room
    if left_out:
        drawn.append(text(0, y + 16, f"and {count(left_out)} tokens more", "tick"))
    height = y + LINE + 2
    return picture(width, height, f"What the score of {target} hangs on, token by token", *drawn)


def _percent(value: float) -> str:
    return f"{100 * value:.0f}{THIN}%"


def _width(written: str) -> float:
    """Pixels of a token's box; characters beyond the Latin alphabets are wide."""
    return sum(FONT if ord(c) > 0x2E80 else 0.62 * FONT for c in written) + 8 + GAP
