"""Addresses in messages and reports: nobody reads a user's name or password there."""

import re

_USER = re.compile(
    r"(?<=://)(?:[^/?#\s]*@"  # what stands before the host
    r"|[^/?#\s:\[]*:(?!\d*(?:[/?#\s]|$))\S*@)"  # a password in which a `/` was not encoded: all that may be of it
)


def without_user(text: str, instead: str = "") -> str:
    """A text in which every address is shown without user and password; `instead` stands in their place."""
    return _USER.sub(instead, text)
