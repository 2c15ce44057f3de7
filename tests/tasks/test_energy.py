"""Processor seconds and joules of a stage."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tasks.machine.energy import Energy, Processors
from tasks.running.sampler import sampled

BUSY = "import time\nwhile time.process_time() < {seconds}: pass\nprint('done', flush=True)\ninput()"


TICKS = 0.1
"""Seconds by which the system's counts of processor time, in hundredths, may differ from the exact ones."""


def busy() -> "subprocess.Popen[str]":
    """A child that has used 0.3 s and waits for a line."""
    command = [sys.executable, "-c", BUSY.format(seconds=0.3)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "done\n"
    return child


def counter(root: Path, microjoules: int, top: int = 1_000_000) -> None:
    package = root / "intel-rapl:0"
    package.mkdir(parents=True, exist_ok=True)
    (package / "energy_uj").write_text(f"{microjoules}\n")
    (package / "max_energy_range_uj").write_text(f"{top}\n")


def test_the_packages_counter_wraps_around(tmp_path: Path) -> None:
    counter(tmp_path, 900_000)
    (tmp_path / "intel-rapl:0:0").mkdir()  # a part of the package, counted with it
    energy = Energy(tmp_path)
    counter(tmp_path, 950_000)
    assert energy.look() == 0.05
    counter(tmp_path, 49_999)
    assert math.isclose(energy.look() or 0, 0.15)


def test_a_machine_that_counts_nothing_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl:0").mkdir()
    assert Energy(tmp_path).look() is None


def test_a_counter_that_is_lost_is_no_energy_and_stops_no_sampling(tmp_path: Path) -> None:
    counter(tmp_path, 900_000)
    energy = Energy(tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    assert energy.look() is None
    counter(tmp_path, 950_000)
    assert energy.look() is None  # what was used meanwhile is not known


def test_children_count_whether_they_live_or_have_ended() -> None:
    begun = time.process_time()
    processors, of_all = Processors(), Processors()
    child = busy()
    assert of_all.look() > 0.25
    alive = processors.look([psutil.Process(child.pid)])  # this process may have others
    assert child.stdin is not None
    child.stdin.close()
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0  # as `wait` would have noted
    used = usage.ru_utime + usage.ru_stime + time.process_time() - begun
    assert 0.25 < alive <= processors.look([]) <= used + TICKS


def test_a_child_of_before_counts_only_from_now_on() -> None:
    with busy() as child:
        begun = time.process_time()
        found = Processors().look([psutil.Process(child.pid)])
        assert found <= time.process_time() - begun + TICKS
        child.communicate("\n")


def test_a_stage_that_is_sampled_has_them() -> None:
    with sampled(None) as usage:
        begun = time.process_time()
        while time.process_time() < begun + 0.2:
            pass
    assert usage.cpu_seconds >= 0.15
    assert usage.energy_joules is None or usage.energy_joules > 0
