"""Why a document is gone, or where it went: one question to the decision tables, no Prefect and no MLflow."""

from typing import Any

from data_quality.explain import explain
from data_quality.rules import Ruleset
from tasks import home
from tasks.store import Artifact, Store, StoreError
from tasks.tables import rows

EXCERPT = 300


def why(document: str, corpus: str | None) -> dict[str, Any]:
    """What was decided about a document, with the evidence.

    Args:
        document: its id; a part of one is enough where it is unambiguous.
        corpus: a `filter_corpus` artifact; None means the newest.

    Raises:
        StoreError: no corpus, no such document (with what was skipped under that name), or several.
    """
    store = Store(home.store_path())
    kept = store.resolve(corpus) if corpus else store.newest("filter_corpus")
    if kept is None:
        raise StoreError("there is no filtered corpus yet: `textmill run CONFIG` makes one")
    if kept.stage != "filter_corpus":
        raise StoreError(f"{kept.name} is no filtered corpus; `textmill ls filter_corpus` lists them")
    decision = _decision(store, kept, document)
    answer: dict[str, Any] = {"document": decision["id"], "corpus": kept.name, **decision}
    answer["rules"] = _findings(store, kept, decision["id"])
    answer["text"] = _text(kept, decision["id"], decision["kept"])
    if decision["twin"]:
        answer["twin_text"] = _text(kept, decision["twin"], True)
    if decision["kept"]:
        answer["split"] = _split(store, kept, decision["id"])
        answer["used_by"] = _used_by(store, kept, answer["split"])
    return answer


def describe(answer: dict[str, Any]) -> str:
    """The answer in words."""
    lines = [f"{answer['document']}", f"  in {answer['corpus']}"]
    if answer["kept"]:
        split = answer.get("split") or {}
        lines.append(f"  kept; split: {split.get('split', 'not split yet')}")
        if split.get("reason"):
            lines.append(f"  {split['reason']}: {split['twin']} (Jaccard {split['jaccard']:.2f})")
        lines += [f"  used by {name}" for name in answer["used_by"]]
    else:
        lines.append(f"  dropped: {answer['reason']}")
        for rule in answer["rules"]:
            if rule["fired"]:
                measured = f"{rule['column']} = {_shown(rule['value'])} {rule['operator']} {_shown(rule['threshold'])}"
                lines.append(f"    {rule['rule']}: {measured}")
                lines.append(f"      as published: {rule['reason']} ({rule['source']})")
        if answer["twin"]:
            lines.append(f"    in favour of {answer['twin']} (Jaccard {answer['jaccard']:.3f})")
    lines.append("  " + answer["text"].replace("\n", "\n  "))
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else ", ".join(value) if isinstance(value, tuple) else value


def _decision(store: Store, kept: Artifact, document: str) -> dict[str, Any]:
    tables = str(kept.path / "decisions" / "*.parquet")
    select = "SELECT id, kept, reason, reasons, twin, jaccard FROM read_parquet(?)"
    found = rows(f"{select} WHERE id = ?", [tables, document])
    if not found:
        found = rows(f"{select} WHERE contains(id, ?) ORDER BY id LIMIT 9", [tables, document])
    if len(found) > 1:
        raise StoreError(f"{document!r} is part of several ids:\n  " + "\n  ".join(row["id"] for row in found[:8]))
    if not found:
        skipped = _skipped(store, kept, document)
        raise StoreError(skipped or f"no document {document!r} in {kept.name}, and no skipped record of that name")
    return found[0]


def _skipped(store: Store, kept: Artifact, document: str) -> str | None:
    """What ingest says about a file or record that became no document."""
    ingest = _ancestor(store, kept, "ingest")
    if ingest is None:
        return None
    parts = [store.artifacts / part["stage"] / part["key"] for part in ingest.manifest()["parts"]]
    tables = [str(path / "skipped.parquet") for path in parts if (path / "skipped.parquet").exists()]
    if not tables:
        return None
    name = document.split(":", 1)[-1].split("#")[0]
    found = rows(
        "SELECT file, line, reason, detail FROM read_parquet(?) WHERE contains(file, ?) LIMIT 5", [tables, name]
    )
    if not found:
        return None
    shown = [f"{row['file']}, line {row['line'] or '-'}: {row['reason']} ({row['detail']})" for row in found]
    return f"{document!r} became no document; ingest skipped:\n  " + "\n  ".join(shown)


def _findings(store: Store, kept: Artifact, document: str) -> list[dict[str, Any]]:
    signals, verdicts = _input(store, kept, "signals"), _input(store, kept, "verdicts")
    rulesets = [Ruleset.model_validate(ruleset) for ruleset in verdicts.manifest()["config"]["rulesets"]]
    found = explain(document, [shard.path for shard in signals.shards()], rulesets)
    return [finding._asdict() for finding in found]


def _text(kept: Artifact, document: str, is_kept: bool) -> str:
    view = "kept" if is_kept else "dropped"
    found = rows("SELECT text FROM read_parquet(?) WHERE id = ?", [str(kept.path / view / "*.parquet"), document])
    return str(found[0]["text"])[:EXCERPT] if found else ""


def _split(store: Store, kept: Artifact, document: str) -> dict[str, Any] | None:
    for split in _descendants(store, kept, "split"):
        table = str(split.file("split.parquet"))
        found = rows("SELECT split, reason, twin, jaccard FROM read_parquet(?) WHERE id = ?", [table, document])
        if found:
            return {"artifact": split.name, **found[0]}
    return None


def _used_by(store: Store, kept: Artifact, split: dict[str, Any] | None) -> list[str]:
    """Models that were trained on a corpus in whose training split the document is."""
    if split is None or split["split"] != "train":
        return []
    tokens = {artifact.key for artifact in _descendants(store, kept, "tokenize")}
    models = [a for a in store.list() if a.stage == "pretrain" and tokens & set(_input_keys(a))]
    keys = {model.key for model in models}
    tuned = [a for a in store.list() if a.stage == "finetune" and keys & set(_input_keys(a))]
    return [artifact.name for artifact in [*models, *tuned]]


def _input(store: Store, artifact: Artifact, name: str) -> Artifact:
    item = artifact.manifest()["inputs"][name][0]
    found = store.find(item["stage"], item["key"])
    if found is None:
        raise StoreError(f"{artifact.name} was made from {item['stage']}/{item['key'][:12]}, which was collected")
    return found


def _ancestor(store: Store, artifact: Artifact, stage: str) -> Artifact | None:
    """The nearest artifact of a stage on the way back to the sources."""
    waiting = [artifact]
    while waiting:
        current = waiting.pop(0)
        if current.stage == stage:
            return current
        for inputs in current.manifest()["inputs"].values():
            waiting += [a for i in inputs if (a := store.find(i["stage"], i["key"])) is not None]
    return None


def _descendants(store: Store, artifact: Artifact, stage: str) -> list[Artifact]:
    return [a for a in store.list() if a.stage == stage and artifact.key in _input_keys(a)]


def _input_keys(artifact: Artifact) -> list[str]:
    return [item["key"] for inputs in artifact.manifest()["inputs"].values() for item in inputs]
