"""Banned addresses, with lists that the user brings.

Source: Penedo et al., arXiv 2306.01116, section G.1, in the form of DCLM's rebuilt RefinedWeb pipeline
(mlfoundations/dclm, baselines_configs/dclm_baseline_refinedweb.yaml): banned domains; banned strings, compared without
`-` and `.`; hard words, of which one is too many; soft words, of which two are. RefinedWeb's domains come from the UT1
blacklists (CC BY-SA), its words are not published.
"""

import re
from urllib.parse import urlsplit

from data_quality.config import ListFile, UrlLists

_WORD = re.compile(r"[a-z0-9]+")


class BannedUrls:
    """Compares addresses with the lists; a list that is not given has no entries."""

    def __init__(self, lists: UrlLists) -> None:
        self._domains = {domain.removeprefix("www.").strip(".") for domain in _entries(lists.domains)}
        self._substrings = [_squeezed(entry) for entry in _entries(lists.substrings)]
        self._hard = frozenset(_entries(lists.hard_words))
        self._soft = frozenset(_entries(lists.soft_words))

    def measure(self, url: str | None) -> dict[str, float]:
        """The signals of the group `url` (signal_catalogue.py); a document without an address has zeros."""
        lowered = (url or "").lower()
        words = set(_WORD.findall(lowered))
        squeezed = _squeezed(lowered)
        return {
            "url_domain": int(any(domain in self._domains for domain in _domains(lowered))),
            "url_substrings": sum(entry in squeezed for entry in self._substrings) if lowered else 0,
            "url_hard_words": len(words & self._hard),
            "url_soft_words": len(words & self._soft),
        }


def _entries(file: ListFile | None) -> list[str]:
    return [entry.lower() for entry in file.entries()] if file else []


def _squeezed(text: str) -> str:
    return text.replace("-", "").replace(".", "")


def _domains(url: str) -> list[str]:
    """The host of an address and the domains it is in: a.b.c, b.c, c."""
    try:
        host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
    except ValueError:  # no address (an unclosed bracket): then no domain of it can be banned
        return []
    parts = host.strip(".").split(".")
    return [".".join(parts[at:]) for at in range(len(parts))]
