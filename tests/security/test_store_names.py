"""A store that others may write to: names that lead out of it, artifacts of another key, journals that point away."""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.lineage.gc import find_garbage
from tasks.running.journal import Journal
from tasks.storage.files import canonical_json
from tasks.storage.integrity import checksum_of
from tasks.storage.shared import SharedStore
from tasks.store import Artifact, Store, StoreError
from tasks.tracking.mlflow_events import Sender

KEY = "a" * 32
OUTSIDE = ["../../../x", "/tmp/x", "a/../../x", "..", "a\\..\\x", "a\0b", "", ".", "x" * 2_000]


def publish(store: Store, key: str = KEY, text: str = "words") -> Artifact:
    partial = store.partial_directory("numbers", key)
    (partial / "a.txt").write_text(text)
    rest = {"parts": [], "shards": [], "counts": {}, "config": {}, "inputs": {}, "digest": None}
    return store.publish(partial, {"stage": "numbers", "key": key, **rest})


def rewritten(artifact: Artifact, change: Callable[[dict[str, Any]], None]) -> None:
    """The manifest changed, and its checksum made to fit: what someone with write access would do."""
    manifest = artifact.manifest()
    change(manifest)
    manifest["checksum"] = checksum_of(manifest)
    (artifact.path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("field", ["files", "shards", "parts", "inputs", "stage"])
def test_a_manifest_names_nothing_outside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, field: str, name: str
) -> None:
    entries: dict[str, Any] = {
        "files": [{"path": name, "bytes": 0, "sha256": "0" * 64}],
        "shards": [{"path": name, "digest": "d", "counts": {}}],
        "parts": [{"stage": name, "key": KEY, "digest": "d"}],
        "inputs": {"source": [{"stage": name, "key": KEY, "digest": "d"}]},
        "stage": name,
    }
    artifact = publish(Store(tmp_path / "store"))
    rewritten(artifact, lambda manifest: manifest.update({field: entries[field]}))
    assert Store(tmp_path / "store").find("numbers", KEY) is None
    assert f"is corrupt (its {field}" in caplog.text
    assert not artifact.path.exists()  # set aside: nothing is deleted, and it is built anew


@pytest.mark.parametrize(
    "change", [{"files": None}, {"counts": []}, {"inputs": None}, {"files": [{"path": "a.txt", "bytes": -1}]}]
)
def test_a_manifest_of_another_form_is_set_aside(tmp_path: Path, change: dict[str, Any]) -> None:
    artifact = publish(Store(tmp_path))
    rewritten(artifact, lambda manifest: manifest.update(change))
    with pytest.raises(StoreError, match=r"no artifact is called|is corrupt and was set aside"):
        Store(tmp_path).checked(f"numbers/{KEY}")


def test_an_artifact_in_anothers_place_is_found_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each of the two is whole and agrees with its own manifest; only the places are swapped."""
    store = Store(tmp_path)
    first, second = publish(store), publish(store, "b" * 32, "other words")
    first.path.rename(tmp_path / "between")
    second.path.rename(first.path)
    (tmp_path / "between").rename(second.path)
    assert Store(tmp_path).find("numbers", first.key) is None
    assert "its manifest is that of another artifact" in caplog.text


def test_a_link_in_an_artifact_is_no_file_of_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    artifact = publish(Store(tmp_path / "store"))
    secret = tmp_path / "secret"
    secret.write_text("words")
    (artifact.path / "a.txt").unlink()
    (artifact.path / "a.txt").symlink_to(secret)
    assert Store(tmp_path / "store").find("numbers", KEY) is None
    assert "a.txt is a link" in caplog.text


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"stage": "../..", "key": "x"}', '{"stage": "numbers"}', "[" * 100_000]
)
def test_a_damaged_alias_is_named_and_nothing_is_collected(tmp_path: Path, content: str) -> None:
    store = Store(tmp_path)
    store.set_alias("good", publish(store))
    (store.alias_directory / "bad.json").write_text(content)
    for ask in (store.aliases, lambda: store.resolve("bad"), lambda: find_garbage(store)):
        with pytest.raises(StoreError, match=r"bad\.json is damaged .*: remove it"):
            ask()


def shared_record(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> SharedStore:
    """A shared store in a folder, whose one record an intruder has rewritten, seen from a machine that has nothing."""
    url = f"file://{tmp_path / 'there'}"
    publish(SharedStore(tmp_path / "here", url))
    [path] = (tmp_path / "there" / "manifests" / "numbers").glob("*.json")
    body = json.loads(path.read_text())
    del body["checksum"]
    change(body)
    body["manifest"]["checksum"] = checksum_of(body["manifest"])
    path.write_text(json.dumps({**body, "checksum": hashlib.sha256(canonical_json(body)).hexdigest()}))
    return SharedStore(tmp_path / "elsewhere", url)


@pytest.mark.parametrize("where", ["files", "run_files", "attempt"])
def test_a_shared_store_writes_nowhere_else(tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture) -> None:
    target = tmp_path / "elsewhere" / "bashrc"

    def change(body: dict[str, Any]) -> None:
        outside = {"path": "../../bashrc", "bytes": 5, "sha256": hashlib.sha256(b"words").hexdigest()}
        if where == "attempt":
            body["attempt"] = "../../../.."
        else:
            (body["manifest"] if where == "files" else body)[where] = [outside]

    store = shared_record(tmp_path, change)
    for folder in (tmp_path / "there" / "files").rglob("*"):
        if folder.is_dir():
            (tmp_path / "there" / "bashrc").write_text("words")
    assert store.find("numbers", KEY) is None
    assert not target.exists()
    assert "is corrupt (its " in caplog.text


def test_what_lies_about_in_a_shared_store_is_passed_over(tmp_path: Path) -> None:
    store = SharedStore(tmp_path / "here", f"file://{tmp_path / 'there'}")
    artifact = publish(store)
    for stray in ("manifests/readme.txt", "manifests/a/b/c.json"):
        (tmp_path / "there" / stray).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "there" / stray).write_text("{")
    assert store.resolve(f"numbers/{KEY}") == artifact
    assert store.aliases() == {}
    stray = tmp_path / "there" / "aliases" / "odd.json"
    stray.parent.mkdir(exist_ok=True)
    for damaged in ("{", ""):
        stray.write_text(damaged)
        with pytest.raises(StoreError, match=r"aliases/odd\.json is damaged .*: remove it"):
            store.aliases()
    store.remove_alias("odd")
    assert store.aliases() == {}


def test_a_journal_uploads_no_file_of_elsewhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sent: list[str] = []

    class Client:
        def log_artifact(self, run_id: str, path: str, directory: str | None) -> None:
            sent.append(Path(path).name)

    (tmp_path / "secret").write_text("a key")
    artifact = tmp_path / "artifact"
    artifact.mkdir()
    (artifact / "report.html").write_text("page")
    (artifact / "link").symlink_to(tmp_path / "secret")
    sender = Sender(Client(), "run", KEY, None, artifact)
    with caplog.at_level(logging.ERROR):
        for path in ("../secret", str(tmp_path / "secret"), "link", "report.html"):
            sender._file({"path": path, "directory": ""})
    assert sent == ["report.html"]
    assert caplog.text.count("is not a file of its artifact and was not uploaded") == 3


def test_journal_lines_that_are_none_are_passed_over(tmp_path: Path) -> None:
    from tasks.running.journal import read_events

    journal = Journal(tmp_path / "j")
    journal.write("file", path="a", directory="b")
    journal.close()
    with journal.path.open("ab") as file:
        file.write(b"[" * 100_000 + b"\n[1]\nnull\n7\n" + b'{"event": "file", "path": "c", "directory": ""}\n')
    assert [event["path"] for _, event in read_events(journal.path)] == ["a", "c"]
