"""Figures and foreign text as the report prints them.

Sizes of text and files are decimal (1 MB = 10^6 bytes), memory is binary (1 GiB = 2^30 bytes). Nothing here returns
markup: what it returns is escaped by whoever puts it on the page.
"""

import math
import unicodedata

MISSING = "–"
THIN = "\u202f"  # narrow no-break space, between a figure and its unit


def excerpt(text: str, limit: int = 900) -> str:
    """The first `limit` characters, with an ellipsis when there were more."""
    return text if len(text) <= limit else text[:limit].rstrip() + " …"


def fit(text: str, width: float, font: float = 12.0) -> str:
    """Text cut to about `width` pixels at a font size of `font` pixels; wide (CJK) characters count double."""
    used = 0.0
    for position, character in enumerate(text):
        used += font * (1.0 if unicodedata.east_asian_width(character) in "WF" else 0.56)
        if used > width:
            return text[: max(0, position - 1)] + "…"
    return text


def count(value: float | None) -> str:
    """17301 as 17,301."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:,.0f}"


def short(value: float | None) -> str:
    """Three significant figures with k, M, G, T: 3212288 as 3.21 M."""
    if value is None or not math.isfinite(value):
        return MISSING
    if abs(value) < 1000:
        return f"{value:.3g}"
    exponent = min(4, int(math.log10(abs(value)) // 3))
    if abs(value) / 1000**exponent >= 999.5:
        exponent = min(4, exponent + 1)
    return _three(value / 1000**exponent) + THIN + ["", "k", "M", "G", "T"][exponent]


def size(value: float | None) -> str:
    """Bytes of text or files, decimal: 52100000 as 52.1 MB."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.0f}{THIN}B" if abs(value) < 1000 else short(value) + "B"


def memory(value: float | None) -> str:
    """Resident memory, binary: MiB below 1 GiB, else GiB."""
    if value is None or not math.isfinite(value):
        return MISSING
    mebibytes = value / 2**20
    return f"{mebibytes:.0f}{THIN}MiB" if mebibytes < 1000 else f"{mebibytes / 1024:.2f}{THIN}GiB"


def duration(seconds: float | None) -> str:
    """0.42 s, 12.3 s, 4 min 05 s, 2 h 07 min."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 59.95:
        return f"{seconds:.2f}{THIN}s" if seconds < 1 else f"{seconds:.1f}{THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{THIN}min {rest:02d}{THIN}s"
    return f"{minutes // 60}{THIN}h {minutes % 60:02d}{THIN}min"


def share(part: float | None, whole: float | None = 1.0) -> str:
    """part / whole in percent with one decimal."""
    if part is None or not whole or not math.isfinite(part / whole):
        return MISSING
    percent = 100.0 * part / whole
    return f"<0.1{THIN}%" if 0 < percent < 0.05 else f"{percent:.1f}{THIN}%"


def points(value: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    return MISSING if value is None or not math.isfinite(value) else f"{100 * value:+.1f}".replace("-", "−")


def decimal(value: float | None, places: int = 3) -> str:
    """A figure with a fixed number of decimals."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{places}f}"


def plain(value: float | str | None) -> str:
    """A signal's value or a threshold: whole numbers as such, others with four significant figures; a word as it is."""
    if value is None or isinstance(value, str):
        return value or MISSING
    return f"{value:,.0f}" if math.isfinite(value) and value == int(value) else f"{value:.4g}"


def _three(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 9.995 else f"{value:.1f}" if abs(value) < 99.95 else f"{value:.0f}"
