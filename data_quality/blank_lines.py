"""Where one paragraph ends and the next begins."""

import re

BLANK_LINES = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+")
"""A line end, at least one line without anything but white space, and the white space before the next text."""
