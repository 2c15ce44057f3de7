"""SVG by hand: elements that escape what they hold, scales with round ticks, and the frame of a plot.

Colours and fonts come from the page's style sheet by class, so that one picture serves light, dark and paper, and text
stays text. Lengths are in pixels of the picture's own grid.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from tasks.running.visible import visible

Child = str | Markup


def tag(name: str, *children: Child, **attributes: str | float | None) -> Markup:
    """One element. `class_` means class, `_` in a name means `-`, None leaves an attribute out; all is escaped."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(_safe(child) for child in children)
    return Markup(f"<{name}{written}>{inside}</{name}>")


def picture(width: float, height: float, label: str, *children: Child, class_: str | None = None) -> Markup:
    """An SVG of width x height pixels that shrinks with the page; `label` is read by screen readers."""
    box = f"0 0 {_number(width)} {_number(height)}"
    return tag("svg", *children, class_=class_, viewBox=box, width=width, height=height, role="img", aria_label=label)


def text(x: float, y: float, content: str, class_: str | None = None, anchor: str | None = None) -> Markup:
    """A line of text; anchor is "middle" or "end"."""
    return tag("text", content, x=x, y=y, class_=class_, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rectangle(x: float, y: float, width: float, height: float, class_: str, tip: str | None = None) -> Markup:
    """A rectangle, with a tip shown on hover."""
    return tag("rect", *tip_of(tip), x=x, y=y, width=max(0.0, width), height=max(0.0, height), class_=class_)


def tip_of(tip: str | None) -> list[Markup]:
    """A <title>: what a browser shows on hover, without any script."""
    return [] if tip is None else [tag("title", tip)]


def path(points: Iterable[tuple[float, float]]) -> str:
    """The `d` attribute of a line through points."""
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points)


class Scale(NamedTuple):
    """A map from values [low, high] to pixels [start, end], linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value; a value outside lies on the edge."""
        low, high, value = (
            (math.log(self.low), math.log(self.high), math.log(max(value, self.low)))
            if self.log
            else (self.low, self.high, value)
        )
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values inside [low, high], at most about `most`."""
        if not self.high > self.low:
            return [self.low]
        return _log_ticks(self.low, self.high, most) if self.log else _linear_ticks(self.low, self.high, most)


class Plot(NamedTuple):
    """The frame of a plot: its two scales (y.start is the bottom)."""

    x: Scale
    y: Scale

    def frame(
        self,
        x_label: str,
        y_label: str,
        x_format: Callable[[float], str],
        y_format: Callable[[float], str],
        x_ticks: Sequence[float] | None = None,
        y_most: int = 5,
        x_room: float = 0.0,
    ) -> Markup:
        """Light horizontal rules with their figures, ticks below, the axes' names; `x_room` is left free on either side
        of the values."""
        left, right, bottom, top = self.x.start - x_room, self.x.end + x_room, self.y.start, self.y.end
        parts = [text(left - 42, top - 12, y_label, "axis")]
        for value in self.y.ticks(y_most):
            parts.append(line(left, self.y(value), right, self.y(value), "rule"))
            parts.append(text(left - 7, self.y(value) + 4, y_format(value), "tick", "end"))
        parts.append(line(left, bottom, right, bottom, "base"))
        for value in self.x.ticks() if x_ticks is None else x_ticks:
            parts.append(line(self.x(value), bottom, self.x(value), bottom + 4, "base"))
            parts.append(text(self.x(value), bottom + 17, x_format(value), "tick", "middle"))
        parts.append(text((left + right) / 2, bottom + 34, x_label, "axis", "middle"))
        return tag("g", *parts)


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for multiples in ((1, 2, 5), (1, 3), (1,)):
        found = [m * 10.0**e for e in range(first, last + 1) for m in multiples]
        found = [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def _safe(child: Child) -> str:
    return str(child) if isinstance(child, Markup) else str(escape(visible(child)))


def _attribute(value: str | float) -> str:
    return str(escape(visible(value))) if isinstance(value, str) else _number(value)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
