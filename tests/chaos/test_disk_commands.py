"""A disk that is full where a command writes outside of every stage: one sentence, and what was there is there."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_quality.shards import whole_file
from flows.cli.main import main
from flows.commands.clean import clean, clean_config
from flows.commands.export import export_model, import_model
from flows.servers import backup as backups
from flows.servers import postgres, services, team
from lm.artifact import save_model
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.tokenizer import train_tokenizer
from lm.tokenizers.config import ByteBPEConfig
from tasks.running import pool
from tasks.storage.disk import DiskFull
from tests.chaos.small_disk import can_mount, small_disk, used
from tests.tasks.tiny_corpus import write_documents

QUICK = {"resources.workers": "1", "resources.threads": "1"}
FULL = r"^the disk is full \(.* MB free now\): {} could not write below {}"


@pytest.fixture(scope="module", autouse=True)
def needs_mount() -> None:
    if not can_mount():
        pytest.skip("only root may mount a small disk")


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Callable[[int], None]]]:
    """A disk of 16 MB that is not the home's, and what leaves so many bytes of it free."""
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    with small_disk(tmp_path / "disk", 2**24) as resize:
        yield tmp_path / "disk", lambda free: resize(used(tmp_path / "disk") + free)
    pool.shut_down()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def said_to_be_full(doing: str, folder: Path) -> Iterator[None]:
    with pytest.raises(DiskFull, match=FULL.format(doing, re.escape(str(folder)))):
        yield


def test_a_cleaning(disk: tuple[Path, Callable[[int], None]], tmp_path: Path) -> None:
    place, leave = disk
    write_documents(tmp_path / "documents")
    documents = [str(tmp_path / "documents")]
    clean(clean_config(documents, None, QUICK, None), str(place / "out"), quiet=True)
    before = files(place)
    leave(16 * 1024)
    other = clean_config(documents, None, QUICK | {"rules.rulesets": "[gopher_quality]"}, None)
    with said_to_be_full("the clean folder", place):
        clean(other, str(place / "out"), quiet=True)
    assert files(place) == before
    leave(2**24)
    clean(other, str(place / "out"), quiet=True)
    assert files(place).keys() == before.keys()
    assert files(place) != before


@pytest.fixture
def model(tmp_path: Path) -> Path:
    train_tokenizer(["the model learns the data"] * 3, ByteBPEConfig(vocab_size=260), tmp_path / "tokenizer")
    config = GPTConfig(layers=2, width=64, heads=2, context=12, vocab=300)
    save_model(GPT(config, seed=1), tmp_path / "tokenizer", tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(("target", "there"), [("hf", True), ("hf", False), ("onnx", False)])
def test_an_export(disk: tuple[Path, Callable[[int], None]], model: Path, target: str, there: bool) -> None:
    place, leave = disk
    if there:
        (place / "out").mkdir()
    leave(16 * 1024)
    with said_to_be_full("the export", place):
        export_model(model, target, place / "out")
    assert list(place.rglob("*")) == ([place / "out"] if there else [])


def test_an_import(disk: tuple[Path, Callable[[int], None]], model: Path, tmp_path: Path) -> None:
    place, leave = disk
    export_model(model, "hf", tmp_path / "hf")
    leave(16 * 1024)
    with said_to_be_full("the import", place):
        import_model(tmp_path / "hf", place / "out")
    assert list(place.rglob("*")) == []


@pytest.mark.parametrize("what", ["dump", "object"])
def test_a_backup(disk: tuple[Path, Callable[[int], None]], monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """pg_dump is stood in for: it writes what it is told to, and says a full disk as the real one does."""
    place, leave = disk
    written = {"prefect": 4096, "mlflow": 4096}
    store = services.home.store_path()

    def dump(program: str, *arguments: str) -> None:
        given = dict(each.removeprefix("--").split("=", 1) for each in arguments if "=" in each)
        try:
            Path(given["file"]).write_bytes(os.urandom(written.get(arguments[-1].rpartition("/")[2], 64)))
        except OSError as error:
            raise services.ServiceError(f"pg_dump failed: could not write: {error.strerror}") from None

    team.choose("team")
    monkeypatch.setattr(services, "ensure_database", lambda: None)
    monkeypatch.setattr(backups, "_run", dump)
    monkeypatch.setattr(postgres, "connect", lambda url: SimpleNamespace(server_version=150_006, close=lambda: None))
    (store / "artifacts").mkdir(parents=True, exist_ok=True)
    (store / "artifacts" / "one").write_bytes(b"1" * 4096)
    backups.backup(place / "backup", objects=True)
    before = files(place)
    leave(64 * 1024)
    if what == "dump":
        written["mlflow"] = 2**20
    else:
        (store / "artifacts" / "two").write_bytes(b"2" * 2**20)
    with said_to_be_full("the backup", place):
        backups.backup(place / "backup", objects=True)
    assert files(place) == before
    assert set(backups._checked(place / "backup")) == set(postgres.DATABASES)  # it can be restored


def test_a_file_that_was_there(disk: tuple[Path, Callable[[int], None]]) -> None:
    place, leave = disk
    (place / "vectors.npy").write_bytes(b"of an earlier call")
    leave(16 * 1024)
    with (
        pytest.raises(OSError, match=r"requested and \d+ written|No space left"),
        whole_file(place / "vectors.npy") as draft,
        draft.open("wb") as handle,
    ):
        np.save(handle, np.zeros(100_000))
    assert files(place) == {"vectors.npy": b"of an earlier call"}


def test_a_command_of_the_line_ends_in_one_sentence(
    disk: tuple[Path, Callable[[int], None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place, leave = disk
    write_documents(tmp_path / "documents")
    monkeypatch.setattr("atexit.register", lambda function: function)
    monkeypatch.setattr(sys, "argv", ["textmill", "init", str(tmp_path / "documents"), "--out", str(place / "a.yaml")])
    (place / "other").write_bytes(b"4" * 4096)  # a size of 0 would be none
    leave(0)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert re.match(FULL.format("init", place).replace("^", "^error: "), said), said
    assert [path.name for path in place.iterdir()] == ["other"]
    leave(2**20)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert {path.name for path in place.iterdir()} == {"other", "a.yaml"}
