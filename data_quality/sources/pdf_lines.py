"""A placed line of a page: what the layout of a PDF file is undone from."""

from typing import NamedTuple


class Line(NamedTuple):
    """A line and its place in points, y upwards. ``hyphen``: its last word goes on in the next line."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    hyphen: bool

    @property
    def height(self) -> float:
        """Height of the type in points, at least one."""
        return max(self.top - self.bottom, 1.0)
