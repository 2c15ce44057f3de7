"""`textmill compare A B`: two models on the exams that both sat, or two exam artifacts, item by item."""

from typing import Any

from flows.config.loading import ConfigError
from flows.given import content_of, given_model
from tasks.exam import read_exam
from tasks.exams.taken import exams_of
from tasks.running.progress import Display
from tasks.running.run import Plan, Resources, Run, use_run
from tasks.storage.files import canonical_json
from tasks.store import Artifact, Store

SHOWN = 5
GROUPS = 20


def compare_exams(store: Store, first: str, second: str, task: str | None = None) -> dict[str, Any]:
    """Compare two models (artifacts, aliases, folders) on every exam that both sat, or two exam artifacts.

    Returns first, second and `exams`: name, items, difference (mean score of the first less that of the second, with
    its paired bootstrap interval and p), groups (the same of each), figures (of both), changed (how many items the
    first and the second have better) and examples of these.

    Raises:
        ConfigError: no exam that both sat, or one of another task.
    """
    with use_run(Run(store, Resources().resolved(), Display(quiet=True), plan=Plan())):  # nothing is made here
        taken = [_sat(store, given_model(each)) for each in (first, second)]
    both = [key for key in taken[0] if key in taken[1]]
    found = [_compared(taken[0][key], taken[1][key]) for key in both]
    found = [each for each in found if task is None or each["name"] == task]
    if not found:
        names = [sorted({read_exam(each)["name"] for each in side.values()}) for side in taken]
        wanted = f" called {task!r}" if task else ""
        each = zip((first, second), names, strict=True)
        said = "; ".join(f"{who} sat {', '.join(have) or 'none'}" for who, have in each)
        raise ConfigError(f"there is no exam{wanted} that both sat ({said}): `textmill evaluate MODEL TASK`")
    return {"first": first, "second": second, "exams": found}


def _sat(store: Store, given: Artifact) -> dict[str, Artifact]:
    """The exams of a model by what was asked; of several answers to the same the newest. An exam is itself."""
    if given.stage == "exam":
        return {asked_of(given): given}
    found: dict[str, Artifact] = {}
    if not given.digest:  # a folder that nobody has asked: it is not in the store
        return found
    who = content_of(given.stage, given.key, given.digest)
    for each in exams_of(store):
        if who in [content_of(**item) for item in each.manifest()["inputs"]["model"]]:
            found[asked_of(each)] = each
    return found


def asked_of(artifact: Artifact) -> str:
    """What was asked, without who was: the labelled set's content, the files', the protocol and its version."""
    manifest = artifact.manifest()
    config = {name: manifest["config"][name] for name in ("exam", "template", "files")}
    labelled = [content_of(**item) for item in manifest["inputs"]["labelled"]]
    return canonical_json([manifest["version"], config, labelled]).decode()


def _compared(first: Artifact, second: Artifact) -> dict[str, Any]:
    import numpy as np
    import pyarrow.parquet as pq

    from lm.evaluate.decisions import DECISIONS
    from lm.evaluate.metrics import paired_bootstrap

    tables = [pq.read_table(each.file(DECISIONS), columns=["id", "group", "score"]) for each in (first, second)]
    a, b = ({row["id"]: row for row in table.to_pylist()} for table in tables)
    ids = [id for id in a if id in b]
    described = [read_exam(each) for each in (first, second)]
    if not ids:
        raise ConfigError(f"{first.name} and {second.name} have no item in common: they are not of the same task")
    scores = np.array([[a[id]["score"], b[id]["score"]] for id in ids])
    groups = [a[id]["group"] for id in ids]
    better = np.flatnonzero(scores[:, 0] > scores[:, 1]), np.flatnonzero(scores[:, 0] < scores[:, 1])
    names = list(dict.fromkeys(groups))
    rows = {name: np.array([group == name for group in groups]) for name in names}
    return {
        "name": described[0]["name"],
        "first": first.name,
        "second": second.name,
        "items": len(ids),
        "only_one": len(a) + len(b) - 2 * len(ids),
        "difference": paired_bootstrap(scores[:, 0], scores[:, 1])._asdict(),
        "groups": {
            name: {"items": int(here.sum()), **paired_bootstrap(scores[here, 0], scores[here, 1], draws=2000)._asdict()}
            for name, here in list(rows.items())[:GROUPS]
            if len(names) > 1
        },
        "changed": {"first_better": len(better[0]), "second_better": len(better[1])},
        "examples": {
            side: [ids[at] for at in found[:SHOWN].tolist()]
            for side, found in zip(("first_better", "second_better"), better, strict=True)
        },
        "figures": {
            name: [each["figures"][name]["value"] for each in described]
            for name in described[0]["figures"]
            if name in described[1]["figures"]
        },
    }
