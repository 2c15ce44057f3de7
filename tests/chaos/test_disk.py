"""A disk that fills up in the middle of every kind of write: a clear message, and a run that goes on with more room."""

import errno
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.running.journal import Journal, note_stage, noted_stages, read_events
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, pipeline_run
from tasks.storage.disk import DiskFull, full_disk, room_on_disk
from tasks.storage.files import write_json
from tasks.store import Store
from tests.asked import Answer, Ask
from tests.chaos.checks import problems
from tests.chaos.small_disk import can_mount, small_disk, used
from tests.tasks.conftest import run, store  # noqa: F401  fixtures
from tests.tasks.stages import NumbersConfig, numbers, squares

ROOM = 256 * 2**20
SAID = r"DiskFull: the disk is full \(.* MB free now\): the .* could not write below /.*: make room .* it goes on"


@pytest.fixture(scope="module")
def needs_mount() -> None:
    if not can_mount():
        pytest.skip("only root may mount a small disk")


def fill_up(mill: Ask, folder: Path, seed: int, count: int, **request: Any) -> dict[str, Any]:
    """Give a run a little more room each time it has ended for want of it. Returns messages, and the last answer."""
    draw = random.Random(seed)
    said: list[str] = []
    with small_disk(folder, 64 * 1024) as resize:
        for _ in range(count):
            resize(used(folder) + draw.randint(4, 400) * 1024)
            answer = mill(folder / "home", **request)
            if answer["exit"] == 0:
                break
            said.append(answer["failed"])
            assert answer["left"] == []
        resize(ROOM)
        last = mill(folder / "home", **request)
        return {"said": said, "last": last, "problems": problems(folder / "home" / "store")}


@pytest.mark.usefixtures("needs_mount")
def test_a_disk_that_fills_up_again_and_again(mill: Ask, undisturbed: Callable[[str], Answer], tmp_path: Path) -> None:
    alone = undisturbed("corpus")
    found = fill_up(mill, tmp_path / "disk", seed=3, count=6, scope="corpus")
    assert found["last"]["digests"] == alone["digests"]
    assert len(found["said"]) >= 3
    for said in found["said"]:
        assert re.fullmatch(SAID, said.replace("\n", " ")), said
    assert found["problems"] == []


def written_by(library: str, path: str) -> None:
    """What each kind of file of ours is written with."""
    rows = {"text": [f"word {n * 7919 % 99_991}" for n in range(40_000)]}
    if library == "json":
        Path(path).write_text(json.dumps(rows))
    elif library == "arrow":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table(rows), path)
    elif library == "duckdb":
        import duckdb

        duckdb.sql(f"COPY (SELECT random() AS x FROM range(300000)) TO '{path}' (FORMAT parquet)")
    elif library == "numpy":
        import numpy as np

        with open(path, "wb") as handle:
            np.save(handle, np.zeros(200_000))
    elif library == "tokenizers":
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel

        Tokenizer(WordLevel({f"word{n}": n for n in range(20_000)}, "word0")).save(path)
    else:
        import torch
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(100_000)}, path)


@pytest.mark.usefixtures("needs_mount")
@pytest.mark.parametrize("library", ["json", "arrow", "duckdb", "numpy", "tokenizers", "safetensors"])
def test_whatever_library_writes_a_full_disk_is_known_as_one(tmp_path: Path, library: str) -> None:
    folder = tmp_path / "disk"
    with (
        small_disk(folder, 64 * 1024),
        pytest.raises(DiskFull, match=rf"the disk is full .*: a test could not write below {tmp_path}"),
        room_on_disk("a test", folder),
    ):
        written_by(library, str(folder / "file"))


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(PermissionError), room_on_disk("a test", Path("/")):
        raise PermissionError(errno.EACCES, "no")
    assert full_disk(ValueError("a value")) is None


def test_a_full_disk_that_led_to_another_error_is_found() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "/data/x")
        finally:
            raise ValueError("could not close")
    except ValueError as error:
        found = full_disk(error)
    assert isinstance(found, OSError)
    assert found.filename == "/data/x"


class Short:
    """A file that takes a few bytes more and then no more, as the last block of a disk does."""

    def __init__(self, handle: Any, left: int) -> None:
        self.handle, self.left = handle, left

    def write(self, data: bytes) -> int:
        written = self.handle.write(data[: self.left])
        self.left -= written
        return int(written)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.handle, name)


def test_a_journal_keeps_whole_lines_when_the_disk_is_full(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.metrics({"loss": 3.0}, step=1)
    whole = journal._handle
    journal._handle = Short(whole, 10)  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space left"):
        journal.metrics({"loss": 2.0}, step=2)
    journal._handle = whole
    journal.metrics({"loss": 2.0}, step=2)  # written again, once there is room
    journal.close()
    assert [e["step"] for _, e in read_events(tmp_path / "journal.jsonl")] == [1, 2]


def test_a_torn_note_of_a_stage_costs_that_note_only(tmp_path: Path) -> None:
    note_stage(tmp_path, "numbers", "a", "built")
    with (tmp_path / "stages.jsonl").open("ab") as handle:
        handle.write(b'{"stage": "squ')
    note_stage(tmp_path, "total", "b", "built")
    assert list(noted_stages(tmp_path)) == [("numbers", "a"), ("total", "b")]


def test_a_failed_stage_says_why_even_if_its_journal_cannot(
    run: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: Journal, event: str, **fields: Any) -> None:
        if event == "end":
            raise OSError(errno.ENOSPC, "No space left on device")
        writing(self, event, **fields)

    writing = Journal.write
    monkeypatch.setattr(Journal, "write", full)
    monkeypatch.setattr("tests.tasks.stages._log_call", lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        numbers(NumbersConfig())


def test_the_stages_message_names_the_disk(run: Run, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def full(name: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(store.root / "x"))

    monkeypatch.setattr("tests.tasks.stages._log_call", full)
    with pytest.raises(DiskFull, match=f"the stage numbers could not write below {store.root}/x"):
        numbers(NumbersConfig())


def test_a_run_that_cannot_begin_its_journal_names_the_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def full(self: Journal, **fields: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(self.path))

    monkeypatch.setattr(Journal, "start", full)
    with (
        pytest.raises(DiskFull, match=r"the journal of the run could not write below .*journal\.jsonl"),
        pipeline_run("mill", {}, Resources(workers=1), store=store, display=Display(quiet=True), follow=False),
    ):
        pass


@pytest.mark.parametrize("name", ["find", "verify", "lock"])
def test_a_disk_that_is_full_before_or_after_the_build_is_named_too(
    run: Run,  # noqa: F811
    store: Store,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    def full(self: Store, *args: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(store.root / "x"))

    source = numbers(NumbersConfig())
    monkeypatch.setattr(Store, name, full)
    with pytest.raises(DiskFull, match=f"the stage squares could not write below {store.root}/x"):
        squares(NumbersConfig(), source=source)


def test_json_that_cannot_be_written_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", {"n": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "record.json", {"n": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
    assert json.loads((tmp_path / "record.json").read_text()) == {"n": 1}
