"""How many of an exam's items stand in the training documents of the model that sat it: what the exam `contamination`
said of the same items, if it was put to the same model."""

from collections.abc import Mapping
from typing import Any

import pyarrow.parquet as pq

from tasks.exams.taken import exams_of, who_sat
from tasks.storage.files import read_json
from tasks.store import Artifact, Store

LOOKED_FOR = "looked for"
"""The group of items that were long enough, in the decisions of `contamination`."""
Leaked = dict[str, Any]
"""`found` and `looked_for` (items of the exam), `items` (all of them), `check` (the contamination exam), `unknown`
(models that this one went on from, whose documents nobody knows)."""


class Checks:
    """The contamination exams of a store."""

    def __init__(self, store: Store) -> None:
        self._checks = [each for each in reversed(exams_of(store)) if _kind(each) == "contamination"]

    def of(self, taken: Artifact) -> Leaked | None:
        """Of an exam; None if its items were not looked for, or are no texts of a file or a set (patterns, probes). Of
        several checks that which looked for the most of them, the newest of equals."""
        if _kind(taken) == "contamination":
            return None
        who, manifest = who_sat(taken), taken.manifest()
        checks = [each for each in self._checks if who_sat(each) == who and _same_items(manifest, each.manifest())]
        counted = [found for each in checks if (found := _counted(taken, each))["looked_for"]]
        return max(counted, key=lambda found: int(found["looked_for"]), default=None)


def in_words(leaked: Leaked | None) -> str:
    """In words; nothing where nothing is known."""
    if leaked is None:
        return ""
    where = "those of its training documents that are known" if leaked["unknown"] else "its training documents"
    return f"{leaked['found']:,} of {leaked['looked_for']:,} looked for stand in {where}"


def _kind(taken: Artifact) -> str:
    return str(read_json(taken.file("exam.json"))["exam"])


def _same_items(taken: Mapping[str, Any], check: Mapping[str, Any]) -> bool:
    """Whether both read the same split of the same set, or the same files one after the other: an id that comes again
    is numbered, so that among other files it may be that of another item."""
    sets = [[each["digest"] for each in of["inputs"]["labelled"]] for of in (taken, check)]
    if sets[0] != sets[1]:
        return False
    if sets[0]:
        splits = [of["config"]["exam"].get("split") for of in (taken, check)]
        return bool(splits[0] == splits[1])
    files = [[sha256 for _, sha256 in of["config"]["files"] or ()] for of in (taken, check)]
    return bool(files[0]) and files[0] == files[1]


def _counted(taken: Artifact, check: Artifact) -> Leaked:
    looked = pq.read_table(check.file("decisions.parquet"), columns=["id", "group", "score"]).to_pylist()
    found = {row["id"]: row["score"] < 0 for row in looked if row["group"] == LOOKED_FOR}
    ids = pq.read_table(taken.file("decisions.parquet"), columns=["id"])["id"].to_pylist()
    here = [id for id in ids if id in found]
    return {
        "found": sum(found[id] for id in here),
        "looked_for": len(here),
        "items": len(ids),
        "check": check.name,
        "unknown": list(check.manifest()["config"].get("unknown", ())),
    }
