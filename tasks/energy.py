"""What the processors drew, by Intel's and AMD's own counters (RAPL) as Linux shows them.

Each package of a machine has a counter of microjoules that begins again at a stated range. The counters are of the
whole package: what else runs on the machine is in them, and memory, disks and graphics cards are not. On most machines
only root may read them.
"""

import os
from pathlib import Path
from typing import Any

RAPL = Path("/sys/class/powercap")
VARIABLE = "TEXTMILL_RAPL"
"""Environment variable: another folder of counters, for tests and for containers that mount it elsewhere."""


class Meter:
    """Counts from its making on. `look` must be called more often than a counter goes round (minutes)."""

    def __init__(self) -> None:
        self._last = {zone: value for zone in _packages() if (value := _read(zone / "energy_uj")) is not None}
        self._drawn = dict.fromkeys(self._last, 0)

    def look(self) -> None:
        """Add what was drawn since the last look."""
        for zone, last in self._last.items():
            now = _read(zone / "energy_uj")
            if now is None:
                continue
            turn = 0 if now >= last else _read(zone / "max_energy_range_uj") or 0
            self._drawn[zone] += max(0, now + turn - last)
            self._last[zone] = now

    def drawn(self) -> dict[str, Any] | None:
        """`joules` and the number of `packages` that they are of; None where no counter can be read."""
        self.look()
        if not self._drawn:
            return None
        return {"joules": sum(self._drawn.values()) / 1e6, "packages": len(self._drawn)}


def _packages() -> list[Path]:
    """The zones of whole packages (`intel-rapl:0`), not those of their parts (`intel-rapl:0:0`), which they contain."""
    folder = Path(os.environ.get(VARIABLE) or RAPL)
    return sorted(zone for zone in folder.glob("intel-rapl:*") if zone.name.count(":") == 1)


def _read(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
