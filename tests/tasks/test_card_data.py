"""Licences as they were last stated."""

import os
from pathlib import Path

import pytest

from tasks.cards.data import NOT_RECORDED, stated_license
from tasks.storage.files import write_json
from tasks.store import Artifact, Store


@pytest.mark.parametrize("keys", ["abc", "cba"])
def test_the_licence_that_was_stated_last_counts_whatever_its_key(store: Store, keys: str) -> None:
    made = [
        stated(store, key, license, age)
        for key, license, age in zip(keys, ("MIT", "CC0-1.0", None), (9, 5, 1), strict=True)
    ]
    assert [stated_license(store, each) for each in made] == ["CC0-1.0"] * 3
    other = stated(store, "d", None, 1, digest="other")
    assert stated_license(store, other) == NOT_RECORDED


def stated(store: Store, key: str, license: str | None, age: int, digest: str = "same") -> Artifact:
    path = Path(store.artifacts / "labelled_set" / key)
    path.mkdir(parents=True)
    write_json(path / "manifest.json", {"digest": digest, "config": {"license": license}})
    os.utime(path / "manifest.json", (1_000_000 - age,) * 2)
    return Artifact("labelled_set", key, digest, path)
