"""The licences of installed packages, by what their metadata say: those that a model's card speaks of, and those of the
project's own table (`flows/project/licences.py`).

A licence is what a distribution's metadata say: the SPDX expression (PEP 639), else its classifiers, else the text of
the old field. Which are allowed is a list below; what it does not cover, or metadata do not say, is named one by one
with the reason why it may be used.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ALLOWED = (
    "MIT", "Apache", "BSD", "ISC", "Python Software Foundation", "PSF", "Mozilla Public License 2.0", "MPL-2.0",
    "Unlicense", "Zlib", "CC0", "0BSD", "Boost", "BSL-1.0", "HPND", "Public Domain", "CNRI", "The Unlicense",
)  # fmt: skip
"""Words of permissive licences, and of the MPL 2.0, whose files we do not change. An expression is allowed if one side
of each OR is, and both sides of each AND."""
STRONG = re.compile(r"\b(A?GPL|LGPL|General Public|EUPL|SSPL|BUSL|Commons Clause|NonCommercial|Proprietary)", re.I)


@dataclass(frozen=True)
class Licence:
    """A distribution, its version and what its metadata say of its licence."""

    name: str
    version: str
    licence: str


NAMED: dict[str, str] = {
    "huey": "MIT (its LICENSE file; the metadata say nothing)",
    "skops": "MIT (its LICENSE file; the metadata say nothing)",
    "pypdfium2": "BSD-3-Clause and Apache-2.0, with the permissive licences of PDFium's parts",
    "psycopg2-binary": "LGPL with exceptions; only a team's servers use it, as it is",
    "pytest-timeout": "MIT; of the tests only",
    "text-unidecode": "Artistic License or GPL, of which the first is taken; python-slugify brings it, for Prefect",
}
"""Distributions whose metadata no list can judge, and what their licence is or why they may be used all the same."""


def read_licences(names: Iterable[str]) -> list[Licence]:
    """Of the distributions that are installed among `names`, by name."""
    found = []
    for name in sorted(names, key=str.lower):
        try:
            about = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue
        version = about["Version"] or ""  # none in a broken installation
        found.append(Licence(name, version.split("+")[0], _stated(about)))
    return found


def _stated(about: metadata.PackageMetadata) -> str:
    if "License-Expression" in about:
        return about["License-Expression"]
    classified = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or () if c.startswith("License ::")]
    classified = [c for c in classified if c != "OSI Approved"]
    if classified:
        return ", ".join(classified)
    old = about["License"].strip() if "License" in about else ""
    return old.splitlines()[0][:80] if old and old.upper() != "UNKNOWN" else ""


def is_allowed(licence: str) -> bool:
    """Whether what a distribution says of its licence is on the list."""
    return bool(licence) and any(
        all(any(word.lower() in part.lower() for word in ALLOWED) and not STRONG.search(part) for part in side)
        for side in ([p for p in re.split(r"\s+AND\s+|,", option) if p.strip(" ()")] for option in _options(licence))
    )


def _options(licence: str) -> list[str]:
    return re.split(r"\s+OR\s+", licence)


def refused(licences: list[Licence]) -> list[Licence]:
    """Those that neither the list nor a reason of their own allows."""
    return [each for each in licences if not is_allowed(each.licence) and each.name.lower() not in NAMED]


FAMILIES = ("MIT", "Apache", "BSD", "MPL", "Mozilla", "PSF", "Python Software Foundation", "ISC")
"""What a licence is counted under: the first of these that its name has in it."""
SPDX = {"Apache": "Apache-2.0", "MPL": "MPL-2.0", "Mozilla": "MPL-2.0", "Python Software Foundation": "PSF"}
SEVERAL = "more than one"


@cache
def of_dependencies() -> dict[str, Any]:
    """The licences of the packages that Textmill needs, as they are installed here: how many `packages`, `by_licence`
    how many have it, and `named`, what is said of those that are not on the list; empty if Textmill is not installed
    as a package, since nobody knows then what it needs.
    """
    found = read_licences(required("textmill"))
    if not found:
        return {}
    counted = Counter(_family(each.licence) for each in found if is_allowed(each.licence))
    named = {e.name: _about(e) for e in found if not is_allowed(e.licence)}
    return {"packages": len(found), "by_licence": dict(counted.most_common()), "named": named}


def required(name: str, extras: Iterable[str] = ()) -> set[str]:
    """The distributions that one requires, and those that these require, that are installed; without itself."""
    found: set[str] = set()
    asked = [(name, frozenset(extras))]
    seen = set(asked)
    while asked:
        one, wanted = asked.pop()
        try:
            lines = metadata.requires(one) or []
        except metadata.PackageNotFoundError:
            continue  # of another system or Python
        found.add(canonicalize_name(one))
        for requirement in map(Requirement, lines):
            marker = requirement.marker
            if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in wanted or {""}):
                continue
            each = (requirement.name, frozenset(requirement.extras))
            if each not in seen:
                seen.add(each)
                asked.append(each)
    return found - {canonicalize_name(name)}


def _family(licence: str) -> str:
    if re.search(r"\s(AND|OR)\s|,", licence):
        return SEVERAL
    found = next((word for word in FAMILIES if word.lower() in licence.lower()), licence)
    return SPDX.get(found, found)


def _about(each: Licence) -> str:
    return NAMED.get(each.name.lower()) or each.licence or "none stated"
