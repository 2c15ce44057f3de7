"""JSON on disk."""

import os
from pathlib import Path

import pytest

from tasks.storage.files import canonical_json, read_json, write_json


def test_canonical_json_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": [True, None, "é"]}) == '{"a":[true,null,"é"],"b":1}'.encode()
    assert canonical_json({"a": [True, None, "é"], "b": 1}) == canonical_json({"b": 1, "a": [True, None, "é"]})


def test_not_a_number_has_no_canonical_form() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"rate": float("nan")})


def test_broken_json_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text('{"a": ')
    with pytest.raises(ValueError, match="Expecting value") as caught:
        read_json(tmp_path / "broken.json")
    assert any("broken.json" in note for note in caught.value.__notes__)


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "a.json", {"n": 1})

    def fail(source: Path, target: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_json(tmp_path / "a.json", {"n": 2})
    assert read_json(tmp_path / "a.json") == {"n": 1}


def test_a_directory_that_was_renamed_away_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_json(tmp_path / "gone" / "a.json", {})
    assert not (tmp_path / "gone").exists()
