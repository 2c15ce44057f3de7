"""`textmill clean --out s3://...` writes there, on a real server; commands that cannot say so."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import s3fs

from flows.cli.main import main
from tasks.machine.home import store_path
from tasks.running import pool
from tasks.storage.exports import Export, exports_of
from tasks.storage.objects import ObjectError, Objects
from tasks.store import Store
from tests.tasks.tiny_corpus import write_documents

QUICK = ("--set", "resources.workers=1", "--set", "resources.threads=1")


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """The exit status of a command as it is typed, in a folder that has documents."""
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("atexit.register", lambda function: function)
    monkeypatch.setattr("tasks.storage.objects.PAUSE_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)
    write_documents(tmp_path / "documents")

    def typed(*given: str) -> int:
        monkeypatch.setattr(sys, "argv", ["textmill", *given])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code

    yield typed
    pool.shut_down()


def read(url: str) -> dict[str, bytes]:
    files = s3fs.S3FileSystem()
    return {name.removeprefix(url.removeprefix("s3://") + "/"): files.cat_file(name) for name in files.find(url)}


def written(url: str) -> dict[str, Any]:
    """When each object was written."""
    return {name: about["LastModified"] for name, about in s3fs.S3FileSystem().find(url, detail=True).items()}


def test_a_cleaning_goes_to_s3_and_is_there_when_it_is_done_again(
    typed: Any, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{bucket}/a folder/clean"
    assert typed("clean", "documents", "--out", f"{url}/", *QUICK) == 0
    assert f"{url}/kept, dropped, report.html, manifest.json" in capsys.readouterr().out
    there = read(url)
    manifest = json.loads(there["manifest.json"])
    assert there.keys() == {entry["path"] for entry in manifest["files"]} | {"manifest.json"}
    for entry in manifest["files"]:
        assert hashlib.sha256(there[entry["path"]]).hexdigest() == entry["sha256"]
    files = s3fs.S3FileSystem()
    with duckdb.connect() as connection:
        connection.register_filesystem(files)
        kept = connection.execute(f"SELECT count(*), sum(length(text)) FROM '{url}/kept/*.parquet'").fetchall()
    assert kept[0][0] == manifest["documents"]["kept"] > 30
    assert not list(tmp_path.glob("s3:*"))
    assert not list((store_path() / "partial").iterdir())
    store = Store(store_path())
    [corpus] = store.list("filter_corpus")
    assert exports_of(store, corpus) == [Export(url, None)]

    before = written(url)
    capsys.readouterr()
    assert typed("clean", "documents", "--out", url, *QUICK) == 0
    assert f"{url}: 0 files went up, 5 were there" in capsys.readouterr().err
    files.invalidate_cache()
    assert written(url) == before

    changed = ("--set", "exact.enabled=false", "--set", "pii.enabled=false")
    assert typed("clean", "documents", "--out", url, *QUICK, *changed) == 0
    again = json.loads(read(url)["manifest.json"])
    assert again["documents"]["read"] == manifest["documents"]["read"]
    assert read(url).keys() == there.keys()
    assert again["files"] != manifest["files"]


def test_a_folder_of_somebody_else_is_refused_before_anything_is_read(
    typed: Any, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Objects(bucket).write("thesis.tex", b"years of work")
    assert typed("clean", "documents", "--out", bucket, *QUICK) == 1
    assert f"error: {bucket} holds something that `textmill clean` did not write" in capsys.readouterr().err
    assert typed("clean", "documents", "--out", "s3://no-such-bucket/clean", *QUICK) == 1
    assert "does the bucket exist?" in capsys.readouterr().err
    assert read(bucket) == {"thesis.tex": b"years of work"}
    assert not list(store_path().glob("artifacts/*"))


def test_what_a_store_that_went_away_had_not_got_goes_up_the_next_time(
    typed: Any, bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as away:

        def fail(*given: Any) -> None:
            raise ObjectError("cannot write: the server is away")

        away.setattr(Objects, "upload", fail)
        assert typed("clean", "documents", "--out", bucket, *QUICK) == 1
    assert "error: cannot write: the server is away" in capsys.readouterr().err
    assert "manifest.json" not in read(bucket)
    assert typed("clean", "documents", "--out", bucket, *QUICK) == 0
    assert "5 files went up, 0 were there" in capsys.readouterr().err
    assert len(read(bucket)) == 6


@pytest.mark.parametrize(
    "given",
    [
        ("diff", "one", "two", "--out", "s3://b/x.parquet"),
        ("trace", "--model", "one", "--out", "s3://b/x.parquet"),
        ("init", "documents", "--out", "s3://b/x.yaml"),
        ("embed", "one", "text", "--out", "s3://b/x.npy"),
        ("predict", "one", "text", "--out", "s3://b/x.jsonl"),
        ("export", "one", "s3://b/x", "--to", "hf"),
        ("import", "documents", "s3://b/x"),
        ("backup", "s3://b/x"),
    ],
    ids=lambda given: given[0],
)
def test_a_command_that_writes_here_refuses_a_url(
    given: tuple[str, ...], typed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(*given) == 1
    [url] = [each for each in given if each.startswith("s3://")]
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(f"error: {url} is a URL, and this command writes to this machine: name a path")
    assert not list(tmp_path.glob("s3:*"))
