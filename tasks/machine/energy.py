"""What a stage costs the machine: seconds of processor time, and joules where the machine counts them.

Energy is that of the whole machine while the stage ran: Intel's and AMD's RAPL counters of the processor packages
(Linux powercap; readable by root only unless an administrator allows it) and NVIDIA's counter of each GPU (NVML). Both
count what other processes do meanwhile, and neither counts memory, disks and fans. A machine with neither says nothing.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psutil

logger = logging.getLogger("textmill.energy")

POWERCAP = Path("/sys/class/powercap")


@dataclass
class Processors:
    """Processor seconds of this process and its children since it was made, those that have ended included.

    `look` has to be called now and then: what a child used up that ends and is not waited for is known from the last
    look only.
    """

    _me: psutil.Process = field(default_factory=psutil.Process)
    _seen: dict[tuple[int, float], float] = field(default_factory=dict)
    _before: dict[tuple[int, float], float] = field(default_factory=dict)
    _own: float = 0.0

    def __post_init__(self) -> None:
        self._own = self._own_seconds()
        self._before = self._of_children()

    def look(self, children: Iterable[psutil.Process] | None = None) -> float:
        """Seconds so far, user and system.

        Args:
            children: this process's, with theirs, from whoever has just listed them; None: they are looked for.
        """
        self._seen |= self._of_children(children)
        theirs = sum(seconds - self._before.get(child, 0.0) for child, seconds in self._seen.items())
        return self._own_seconds() - self._own + theirs

    def _own_seconds(self) -> float:
        times = self._me.cpu_times()
        return float(times.user + times.system)

    def _of_children(self, children: Iterable[psutil.Process] | None = None) -> dict[tuple[int, float], float]:
        found = {}
        for child in self._me.children(recursive=True) if children is None else children:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                times = child.cpu_times()
                found[child.pid, child.create_time()] = float(times.user + times.system)
        return found


class Energy:
    """Joules that the machine has used since this was made; None where it counts none."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._packages = [_Package(path) for path in sorted(powercap.glob("*-rapl:[0-9]")) if _readable(path)]
        self._gpus = _gpus()
        self._gpus_before: list[int] = []
        with suppress(Exception):  # one that was lost since the first stage
            self._gpus_before = self._millijoules()

    def look(self) -> float | None:
        """Joules so far; None too from when a counter no longer answers on: the rest would pass for all.

        Counters wrap around after some minutes under load: look more often than that.
        """
        if not self._packages and not self._gpus_before:
            return None
        try:
            return self._joules()
        except Exception as error:  # noqa: BLE001  a GPU that was lost, rights that were taken away
            logger.warning("this machine's energy is no longer counted (%s: %s)", type(error).__name__, error)
            self._packages, self._gpus_before = [], []
            return None

    def _joules(self) -> float:
        packages = sum(package.look() for package in self._packages)
        return packages + sum(b - a for a, b in zip(self._gpus_before, self._millijoules(), strict=True)) / 1e3

    def _millijoules(self) -> list[int]:
        return [self._gpus.nvmlDeviceGetTotalEnergyConsumption(gpu) for gpu in _handles(self._gpus)]


class _Package:
    """One processor package: a counter of microjoules that wraps around."""

    def __init__(self, path: Path) -> None:
        self._path = path / "energy_uj"
        self._range = int((path / "max_energy_range_uj").read_text())
        self._last = int(self._path.read_text())
        self._total = 0

    def look(self) -> float:
        now = int(self._path.read_text())
        self._total += (now - self._last) % (self._range + 1)
        self._last = now
        return self._total / 1e6


def _readable(path: Path) -> bool:
    try:
        return bool((path / "energy_uj").read_text() and (path / "max_energy_range_uj").read_text())
    except OSError:
        return False


@cache
def _gpus() -> Any:
    """NVIDIA's library if it is installed and there is a GPU that counts its energy, else None."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        for gpu in _handles(pynvml):
            pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    except pynvml.NVMLError:
        return None
    return pynvml


def _handles(library: Any) -> list[Any]:
    if library is None:
        return []
    return [library.nvmlDeviceGetHandleByIndex(number) for number in range(library.nvmlDeviceGetCount())]
