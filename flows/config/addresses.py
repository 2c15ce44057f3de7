"""Addresses in messages and reports: nobody reads a user's name or password there."""

import re
from urllib.parse import urlsplit

_USER = re.compile(
    r"(?<=://)(?:[^/?#\s]*@"  # what stands before the host
    r"|[^/?#\s:\[]*:(?!\d*(?:[/?#\s]|$))\S*@)"  # a password in which a `/` was not encoded: all that may be of it
)


def without_user(text: str, instead: str = "") -> str:
    """A text in which every address is shown without user and password; `instead` stands in their place."""
    return _USER.sub(instead, text)


def shown(address: str, instead: str = "") -> str:
    """What may be one address, as a whole, without user and password, whatever they are made of."""
    try:
        parts = urlsplit(address)
    except ValueError:  # brackets that are no host
        return without_user(address, instead)
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=instead + host).geturl() if user else without_user(address, instead)
