"""Memory, processor time and energy of a stage, sampled from this process and its children."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import psutil

from tasks.machine.beside import beside
from tasks.machine.energy import Energy, Processors
from tasks.running.journal import Journal

SAMPLE_SECONDS = 1.0
JOURNAL_SECONDS = 5.0


@dataclass
class Usage:
    """Seconds of wall clock and of processors, joules of the machine (None: it counts none), and the largest resident
    sizes seen, in bytes."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    energy_joules: float | None = None
    peak_process_bytes: int = 0
    peak_total_bytes: int = 0


@contextmanager
def sampled(journal: Journal | None) -> Iterator[Usage]:
    """Sample until the block ends; with a journal, also write MLflow's system metrics every five seconds."""
    usage = Usage()
    started = time.perf_counter()
    processors, energy = Processors(), Energy()
    with beside(partial(_sample, usage, journal, processors, energy), "sampler", join_seconds=None):
        try:
            yield usage
        finally:
            usage.seconds = time.perf_counter() - started


def _sample(
    usage: Usage, journal: Journal | None, processors: Processors, energy: Energy, ended: threading.Event
) -> None:
    me = psutil.Process()
    next_journal = time.monotonic() + JOURNAL_SECONDS
    psutil.cpu_percent()
    while True:
        sizes = []
        children = me.children(recursive=True)
        for process in [me, *children]:
            try:
                sizes.append(process.memory_info().rss)
            except psutil.NoSuchProcess:
                continue  # it ended between the listing and the look
        usage.peak_process_bytes = max(usage.peak_process_bytes, *sizes)
        usage.peak_total_bytes = max(usage.peak_total_bytes, sum(sizes))
        usage.cpu_seconds, usage.energy_joules = processors.look(children), energy.look()
        if journal is not None and time.monotonic() >= next_journal:
            next_journal += JOURNAL_SECONDS
            memory = psutil.virtual_memory()
            figures = {
                "system/cpu_utilization_percentage": psutil.cpu_percent(),
                "system/process_resident_megabytes": sum(sizes) / 1e6,
                "system/system_memory_usage_percentage": memory.percent,
            }
            with suppress(OSError):  # a full disk: what has to be written says so
                journal.metrics(figures, journal.next_step("system/cpu_utilization_percentage"))
        if ended.wait(SAMPLE_SECONDS):
            usage.cpu_seconds, usage.energy_joules = processors.look(), energy.look()
            return
