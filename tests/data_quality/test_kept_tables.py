"""Tables by code point: made once, and again when their source, or their file, is another."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_quality import kept_tables as module
from data_quality.characters import _class_table, class_table
from data_quality.dedupe.shingles import _make_normal_forms, normal_form_table
from data_quality.kept_tables import Tables, kept_tables
from data_quality.language import _make_script_table, _script_table


class Maker:
    """Makes two tables, and counts how often."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> Tables:
        self.made += 1
        return np.arange(5, dtype=np.uint16), np.array([7], dtype=np.uint32)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "DIRECTORY", tmp_path / "kept")
    (tmp_path / "source.py").write_text("one")
    return tmp_path / "source.py"


def test_a_table_is_made_once_until_its_source_changes(source: Path) -> None:
    make = Maker()
    for _ in range(2):
        first, second = kept_tables("t", make, str(source))
        assert (first.tolist(), first.dtype) == ([0, 1, 2, 3, 4], np.uint16)
        assert (second.tolist(), second.dtype) == ([7], np.uint32)
    assert make.made == 1
    source.write_text("two")
    kept_tables("t", make, str(source))
    assert make.made == 2


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:40], lambda raw: b"", lambda raw: raw.replace(b"\x03\x00", b"\x09\x00")]
)
def test_a_damaged_file_is_made_anew(source: Path, damage: Callable[[bytes], bytes]) -> None:
    make = Maker()
    kept_tables("t", make, str(source))
    [path] = module.DIRECTORY.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert kept_tables("t", make, str(source))[0].tolist() == [0, 1, 2, 3, 4]
    assert make.made == 2
    kept_tables("t", make, str(source))
    assert make.made == 2


def test_where_nothing_can_be_written_a_process_makes_its_own(source: Path) -> None:
    module.DIRECTORY.write_text("a file where a folder should be")
    make = Maker()
    assert kept_tables("t", make, str(source))[1].tolist() == [7]
    assert make.made == 1


def test_what_is_kept_is_what_is_made() -> None:
    for kept, made in (
        ((class_table(),), _class_table()),
        ((_script_table(),), _make_script_table()),
        (normal_form_table(), _make_normal_forms("zero")),
        (normal_form_table("keep"), _make_normal_forms("keep")),
    ):
        for one, other in zip(kept, made, strict=True):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)


def test_many_processes_may_make_one_at_once(source: Path) -> None:
    program = (
        "import sys, numpy as np; from pathlib import Path; from data_quality import kept_tables as k; "
        "k.DIRECTORY = Path(sys.argv[1]); "
        "print(k.kept_tables('t', lambda: (np.arange(100_000),), sys.argv[2])[0].sum())"
    )
    command = [sys.executable, "-c", program, str(module.DIRECTORY), str(source)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert {process.communicate()[0].strip() for process in running} == {"4999950000"}
    assert len(list(module.DIRECTORY.iterdir())) == 1
