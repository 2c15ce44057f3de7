"""Processor seconds and joules of a stage."""

import math
import subprocess
import sys
import time
from pathlib import Path

from tasks.machine.energy import Energy, Processors
from tasks.running.sampler import sampled

BUSY = "import time\nwhile time.process_time() < {seconds}: pass\nprint('done', flush=True)\ninput()"


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
    processors = Processors()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", BUSY.format(seconds=0.3)], **pipes, text=True) as child:  # type: ignore[call-overload]
        assert child.stdout.readline() == "done\n"
        alive = processors.look()
        child.communicate("\n")
    assert alive > 0.25
    assert alive <= processors.look() < alive + 5


def test_a_child_of_before_counts_only_from_now_on() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY.format(seconds=0.3)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert Processors().look() < 0.25
        child.communicate("\n")


def test_a_stage_that_is_sampled_has_them() -> None:
    with sampled(None) as usage:
        begun = time.process_time()
        while time.process_time() < begun + 0.2:
            pass
    assert usage.cpu_seconds >= 0.15
    assert usage.energy_joules is None or usage.energy_joules > 0
