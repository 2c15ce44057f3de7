"""Whether a bill of materials is of what is locked: the end of `make sbom`.

    python -m flows.project.bill sbom.cdx.json

Exit status 1, with what differs, if it lists another package or version than requirements.lock; besides those it may
list Textmill, pip, which made the environment, and what torch wants where it is built for CUDA
(requirements-cuda.lock).
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from flows.servers.doctor import read_lock

ROOT = Path(__file__).parents[2]
BESIDE = {"textmill", "pip"}


def listed(bill: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, version) of each component of a bill in CycloneDX."""
    return [(each["name"], each.get("version", "")) for each in bill["components"]]


def differences(components: Iterable[tuple[str, str]], locked: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """What is in one and not in the other; a build's local part (`2.13.0+cpu`) is no other version.

    Args:
        locked: of requirements.lock: each has to be there.
        wanted: what may be there too, in this version.
    """
    there = {canonicalize_name(name): version.partition("+")[0] for name, version in components}
    pins = {canonicalize_name(name): version for name, version in locked.items()}
    extra = {canonicalize_name(name): version for name, version in wanted.items()}
    said = [f"{name} {version} is not listed" for name, version in pins.items() if name not in there]
    for name, version in there.items():
        pinned = pins.get(name, extra.get(name))
        if pinned is None and name not in BESIDE:
            said.append(f"{name} {version} is in no lock")
        elif pinned is not None and pinned != version:
            said.append(f"{name} is {version}, locked is {pinned}")
    return sorted(said)


def main() -> None:
    """Compare, say it."""
    bill = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    components, locks = listed(bill), [read_lock(ROOT / f"requirements{of}.lock") for of in ("", "-cuda")]
    said = differences(components, *locks)
    print("\n".join(said))
    print(f"{sys.argv[1]}: {len(components)} components{'' if said else ', requirements.lock in its versions'}")
    sys.exit(1 if said else 0)


if __name__ == "__main__":
    main()
