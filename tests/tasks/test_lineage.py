"""The ways back through manifests: the nearest first, or inputs first, however long the line."""

import uuid
from pathlib import Path

import pytest

from flows.commands.artifacts import lineage
from tasks.lineage.ancestors import ancestors, inputs_first, manifest_of
from tasks.lineage.descent import Descent
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.storage.files import write_json
from tasks.storage.shared import SharedStore
from tasks.store import Artifact, Store
from tests.tasks.stages import NumbersConfig, numbers
from tests.tasks.test_gc import chain

NIGHTS = 1_500  # more than the interpreter's limit of recursion


def line(store: Store) -> Artifact:
    """A model that goes on from the one of the night before, and reads the same corpus."""
    corpus = {"stage": "corpus", "key": "c", "digest": "c"}
    manifests = [{**corpus, "inputs": {}, "parts": [], "config": {}}]
    for night in range(NIGHTS):
        before = [{"stage": "model", "key": f"m{night - 1}", "digest": f"m{night - 1}"}] if night else []
        inputs = {"model": before, "text": [corpus]}  # a manifest is written with its keys in order
        name = {"stage": "model", "key": f"m{night}", "digest": f"m{night}"}
        manifests.append({**name, "inputs": inputs, "parts": [], "config": {}, "files": []})
    for manifest in manifests:
        folder = store.artifacts / str(manifest["stage"]) / str(manifest["key"])
        folder.mkdir(parents=True)
        write_json(folder / "manifest.json", manifest, durable=False)
    last = f"m{NIGHTS - 1}"
    return Artifact("model", last, last, store.artifacts / "model" / last)


def test_a_long_line_is_walked_to_its_end(store: Store) -> None:
    model = line(store)
    shown = lineage(store, model)
    assert len(shown) == 2 * NIGHTS
    assert shown[0]["note"] == ""
    assert [row["key"] for row in shown[1:3]] == [f"m{NIGHTS - 2}", f"m{NIGHTS - 3}"]  # depth first
    assert shown[NIGHTS]["note"] == "(text)"
    assert {row["note"] for row in shown[NIGHTS + 1 :]} == {"(text) see above"}

    def inputs(key: str) -> list[str]:
        manifest = manifest_of(store, "corpus" if key == "c" else "model", key)
        assert manifest is not None
        return [item["key"] for items in manifest["inputs"].values() for item in items]

    order = list(inputs_first([model.key], inputs))
    assert sorted(order) == sorted(["c", *(f"m{night}" for night in range(NIGHTS))])
    at = {key: number for number, key in enumerate(order)}
    assert all(at[before] < at[key] for key in order for before in inputs(key))


def test_a_circle_is_cut() -> None:
    circle = {"a": ["b"], "b": ["c", "a"], "c": ["c"]}
    assert list(inputs_first("a", circle.__getitem__)) == ["c", "b", "a"]


def test_ancestors_are_the_nearest_first_and_may_follow_some_inputs_only(run: Run) -> None:
    source, squared, summed = chain()
    assert list(ancestors(run.store, summed)) == [summed, squared, source]
    assert list(ancestors(run.store, summed, ["model"])) == [summed]


def test_a_manifest_is_read_where_it_is(tmp_path: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    one, other = SharedStore(tmp_path / "one", url), SharedStore(tmp_path / "other", url)
    with use_run(Run(one, Resources(workers=1, threads=1), Display(quiet=True))):
        made = numbers(NumbersConfig(count=3))
    assert manifest_of(other, "numbers", made.key) == manifest_of(one, "numbers", made.key) == made.manifest()
    assert not (other.artifacts / "numbers").exists()  # nothing was fetched for that
    assert manifest_of(one, "numbers", "none") is None
    (made.path / "manifest.json").write_text("{")
    assert manifest_of(one, "numbers", made.key) is None


@pytest.mark.parametrize("text", ["{}", "[]", "7", '{"stage": "numbers", "key": "other"}', "[" * 100_000])
def test_a_broken_manifest_is_none(store: Store, text: str) -> None:
    folder = store.artifacts / "numbers" / "k"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(text)
    assert manifest_of(store, "numbers", "k") is None
    assert Descent(store).manifests == {}
