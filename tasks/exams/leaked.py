"""How many of an exam's items stand in the training documents of the model that sat it: what the exam `contamination`
said of the same items, if it was put to the same model."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow.parquet as pq

from tasks.storage.files import read_json
from tasks.store import Artifact, Store

LOOKED_FOR = "looked for"
"""The group of items that were long enough, in the decisions of `contamination`."""
Leaked = dict[str, Any]
"""`found` and `looked_for` (items of the exam), `items` (all of them), `check` (the contamination exam)."""


class Checks:
    """The contamination exams of a store."""

    def __init__(self, store: Store) -> None:
        self._checks = [each for each in _newest_first(store.list("exam")) if _kind(each) == "contamination"]

    def of(self, taken: Artifact) -> Leaked | None:
        """Of an exam; None if its items were not looked for, or are no texts of a file or a set (patterns, probes)."""
        manifest = taken.manifest()
        if _kind(taken) == "contamination":
            return None
        for check in self._checks:
            if _same_model(manifest, check.manifest()) and _same_items(manifest, check.manifest()):
                return _counted(taken, check)
        return None


def in_words(leaked: Leaked | None) -> str:
    """In words; nothing where nothing is known."""
    if leaked is None:
        return ""
    return f"{leaked['found']:,} of {leaked['looked_for']:,} looked for stand in its training documents"


def _newest_first(exams: Iterable[Artifact]) -> Iterator[Artifact]:
    yield from sorted(exams, key=lambda each: -(each.path / "manifest.json").stat().st_mtime_ns)


def _kind(taken: Artifact) -> str:
    return str(read_json(taken.file("exam.json"))["exam"])


def _same_model(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    models = [(each["stage"], each["digest"]) for of in (first, second) for each in of["inputs"]["model"]]
    return len(set(models)) == 1


def _same_items(taken: Mapping[str, Any], check: Mapping[str, Any]) -> bool:
    """Whether all that the exam asks was looked through: the same split of the same set, or the same files."""
    sets = [[each["digest"] for each in of["inputs"]["labelled"]] for of in (taken, check)]
    if sets[0]:
        splits = [of["config"]["exam"].get("split") for of in (taken, check)]
        return sets[0] == sets[1] and splits[0] == splits[1]
    files = [{sha256 for _, sha256 in of["config"]["files"] or ()} for of in (taken, check)]
    return bool(files[0]) and files[0] <= files[1]


def _counted(taken: Artifact, check: Artifact) -> Leaked | None:
    looked = pq.read_table(check.file("decisions.parquet"), columns=["id", "group", "score"]).to_pylist()
    found = {row["id"]: row["score"] < 0 for row in looked if row["group"] == LOOKED_FOR}
    ids = pq.read_table(taken.file("decisions.parquet"), columns=["id"])["id"].to_pylist()
    here = [id for id in ids if id in found]
    if not here:
        return None
    return {
        "found": sum(found[id] for id in here),
        "looked_for": len(here),
        "items": len(ids),
        "check": check.name,
    }
