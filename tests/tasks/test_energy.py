"""What processors drew, by a folder of counters as Linux shows them."""

from pathlib import Path

import pytest

from tasks.energy import VARIABLE, Meter
from tasks.sampler import sampled


def counter(folder: Path, zone: str, value: int, top: int = 1_000_000) -> Path:
    (folder / zone).mkdir(exist_ok=True)
    (folder / zone / "max_energy_range_uj").write_text(f"{top}\n")
    (folder / zone / "energy_uj").write_text(f"{value}\n")
    return folder / zone / "energy_uj"


@pytest.fixture
def counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def test_packages_are_added_and_their_parts_are_not(counters: Path) -> None:
    counter(counters, "intel-rapl:0", 100)
    counter(counters, "intel-rapl:0:0", 50)
    counter(counters, "intel-rapl:1", 900_000)
    meter = Meter()
    counter(counters, "intel-rapl:0", 250_100)
    counter(counters, "intel-rapl:0:0", 99_999)
    counter(counters, "intel-rapl:1", 400_000)  # went round
    meter.look()
    counter(counters, "intel-rapl:0", 500_100)
    assert meter.drawn() == {"joules": pytest.approx(0.5 + 0.5), "packages": 2}


def test_what_cannot_be_read_is_not_known(counters: Path) -> None:
    assert Meter().drawn() is None
    counter(counters, "intel-rapl:0", 5).write_text("not a number")
    assert Meter().drawn() is None
    gone = counter(counters, "intel-rapl:0", 5)
    meter = Meter()
    gone.unlink()
    assert meter.drawn() == {"joules": 0.0, "packages": 1}


def test_a_stage_notes_it(counters: Path) -> None:
    counter(counters, "intel-rapl:0", 0)
    with sampled(None) as usage:
        counter(counters, "intel-rapl:0", 3_000_000, top=10_000_000)
    assert usage.energy == {"joules": 3.0, "packages": 1}
