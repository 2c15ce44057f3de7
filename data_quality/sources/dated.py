"""The day that the path of a file names, as feeds and dumps are named."""

import re
from contextlib import suppress
from datetime import date

_DATE = re.compile(r"(?<!\d)(\d{4})([-_./]?)(\d{2})\2(\d{2})(?!\d)")


def path_date(path: str) -> date | None:
    """The last date of a path, written 2026-11-20, 20261120, 2026_11_20, 2026.11.20 or 2026/11/20; None: it has none.

    Digits that are no day of the calendar (20261340) are none.
    """
    found = None
    for year, _, month, day in _DATE.findall(path):
        with suppress(ValueError):
            found = date(int(year), int(month), int(day))
    return found
