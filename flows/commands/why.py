"""Why a document is gone, or where it went: one question to the decision tables, no Prefect and no MLflow."""

from pathlib import Path
from typing import Any

from data_quality.document_lists import KEEP
from data_quality.explain import explain
from data_quality.forgotten import REASON
from data_quality.rules import Ruleset, measured, written
from flows.commands.lookup import (
    cleaned,
    filtered_corpus,
    input_of,
    scores_of,
    shard_of,
    tables_for,
    tables_with,
    with_parts,
)
from tasks.decide import LEFTOVERS
from tasks.filter import DROPPED
from tasks.lineage.ancestors import ancestors
from tasks.lineage.forgotten import as_written, request_for, standing
from tasks.running.run import Resources
from tasks.running.tables import many_questions, rows
from tasks.storage.shared import open_store
from tasks.store import Artifact, Store, StoreError

EXCERPT = 300
EVIDENCE = 5
LEFT_BY = {"lines.too_little_left": "boilerplate", "substring.too_little_left": "substring"}
"""Reasons that say that too little of a text is left, and the stages that took the rest."""


@many_questions()
def why(document: str, corpus: str | None) -> dict[str, Any]:
    """What was decided about a document, with the evidence.

    Args:
        document: its id, as its source or as the corpus writes it; a part of one is enough where it is unambiguous.
        corpus: a `filter_corpus` artifact, or a folder that `textmill clean` wrote; None means the newest.

    Raises:
        StoreError: no corpus, no such document (with what was skipped under that name), or several.
    """
    store = open_store()
    kept = filtered_corpus(corpus)
    decisions = input_of(kept, "decisions")
    try:
        id = _full_id(store, kept, decisions, document)
    except StoreError:
        if (left_out := _forgotten(store, kept, document)) is None:
            raise
        return left_out
    shard = shard_of(decisions, id)
    assert shard is not None
    decision = _decision(decisions, shard, id)
    answer: dict[str, Any] = {"document": id, "corpus": kept.name, **decision}
    answer["request"] = _request(store, kept, id)  # it still is in this corpus: the next one is without it
    answer["rules"] = _findings(decisions, shard, id)
    answer["contamination"] = _contamination(decisions, shard, decision)
    answer["too_little_left"] = _too_little_left(decisions, shard, decision)
    answer["text"] = _text(kept, shard, id, decision["kept"])
    if decision["twin"]:
        twin_shard = shard_of(decisions, decision["twin"])
        answer["twin_text"] = "" if twin_shard is None else _text(kept, twin_shard, decision["twin"], True)
        # it may have gone for a reason of its own: both fail a rule, it is another's twin, it holds a benchmark
        answer["twin_kept"] = twin_shard is not None and _decision(decisions, twin_shard, decision["twin"])["kept"]
    if decision["kept"]:
        answer["split"] = _split(store, kept, id)
        answer["mixtures"] = _mixtures(_mixtures_of(store, kept, corpus), tables_for(kept, shard)[0], id)
        answer["used_by"] = _used_by(store, kept, id)
    return answer


def describe(answer: dict[str, Any]) -> str:
    """The answer in words."""
    lines = [f"{answer['document']}", f"  in {answer['corpus']}"]
    if answer["reason"] == REASON:
        return "\n".join([*lines, f"  {REASON}: {answer['request']}", "  its text was not read"])
    if answer["request"]:
        lines.append(f"  to be forgotten by the next refresh: {answer['request']}")
    if answer["kept"]:
        split = answer.get("split") or {}
        lines += _stays(answer, split.get("split"))
        if against := _against(answer):
            lines += ["  although", *against]
        if split.get("reason"):
            lines.append(f"  {split['reason']}: {split['twin']} (Jaccard {split['jaccard']:.2f})")
        lines += [f"  used by {name}" for name in answer["used_by"]]
    else:
        lines.append(f"  dropped: {answer['reason']}")
        lines += _against(answer)
    if answer["span_counts"]:
        found = ", ".join(f"{count} {kind}" for kind, count in answer["span_counts"].items())
        lines.append(f"  taken out or replaced in the text: {found}")
    for row in answer["contamination"]:
        lines.append(f"  shares a row of words with {row['item']} (characters {row['start']:,} to {row['end']:,})")
    lines.append("  " + answer["text"].replace("\n", "\n  "))
    return "\n".join(lines)


def _stays(answer: dict[str, Any], split: str | None) -> list[str]:
    """That a document was kept, and how often each mixture draws it. Where none draws it and there is no split, as in a
    cleaned folder, it lies among the dropped: that is said first, and nothing of a split that is yet to come."""
    listed = f" ({KEEP})" if KEEP in answer["reasons"] else ""
    drawings = list(map(_drawing, answer["mixtures"]))
    if drawings and split is None and not any(each["copies"] for each in answer["mixtures"]):
        return [f"  kept by the rules and dedupe{listed}; {'; '.join(drawings)}"]
    return [f"  kept{listed}; split: {split or 'not split yet'}", *(f"  {each}" for each in drawings)]


def _drawing(mixture: dict[str, Any]) -> str:
    if copies := mixture["copies"]:
        return f"drawn {copies} {'time' if copies == 1 else 'times'} by {mixture['artifact']}"
    budget = "no budget" if mixture["budget"] is None else f"budget {mixture['budget']:,.12g} {mixture['unit']}"
    return f"not drawn by {mixture['artifact']} ({mixture['group']}: weight {mixture['weight']:g}, {budget})"


def _against(answer: dict[str, Any]) -> list[str]:
    """What speaks against a document: the rules that fire, its twin, and reasons that name neither."""
    lines = []
    fired = [rule for rule in answer["rules"] if rule["fired"]]
    for rule in fired:
        value, threshold = measured(rule["value"], rule["threshold"]), written(rule["threshold"])
        lines.append(f"    {rule['rule']}: {rule['column']} = {value} {rule['operator']} {threshold}")
        lines.append(f"      as published: {rule['reason']} ({rule['source']})")
    if answer["twin"]:
        alike = "the same address" if answer["jaccard"] is None else f"Jaccard {answer['jaccard']:.3f}"
        stays = "in favour of {}" if answer["twin_kept"] else "like {}, which is dropped, too"
        lines.append(f"    {stays.format(answer['twin'])} ({alike})")
    for left in answer["too_little_left"]:
        wanted = f"{left['min_characters']:,} and a share of {left['min_share']:g} are wanted"
        lines.append(f"    {left['reason']}: {left['left']:,} of {left['characters']:,} characters stay, {wanted}")
        lines += [f"      {row['characters']:,} of those that go stand in {row['other']}" for row in left["elsewhere"]]
    explained = {answer["reason"], KEEP, *(rule["rule"] for rule in fired), *LEFT_BY}
    others = [reason for reason in answer["reasons"] if reason not in explained and not reason.startswith("duplicate.")]
    return [*lines, *(f"    {reason}" for reason in others)]


def _full_id(store: Store, kept: Artifact, decisions: Artifact, document: str) -> str:
    """The id that a person means by an id or a part of one, as it is written or as its source has it. A whole id is
    found at once, a part by reading all ids."""
    if shard_of(decisions, document) is not None:
        return document
    ingest = _reading(store, kept)
    written = as_written(ingest.manifest())(document) if ingest else document
    if written != document and shard_of(decisions, written) is not None:
        return written
    tables = [str(table.path) for table in with_parts(decisions).shards()]
    query = (
        "SELECT id FROM read_parquet($tables) WHERE contains(id, $part) OR contains(id, $written) ORDER BY id LIMIT 9"
    )
    found = rows(query, {"tables": tables, "part": document, "written": written})
    if len(found) > 1:
        raise StoreError(f"{document!r} is part of several ids:\n  " + "\n  ".join(row["id"] for row in found[:8]))
    if not found:
        skipped = _skipped(ingest, written)
        raise StoreError(skipped or f"no document {document!r} in {kept.name}, and no skipped record of that name")
    return str(found[0]["id"])


def _forgotten(store: Store, kept: Artifact, document: str) -> dict[str, Any] | None:
    """The answer about a document that was not read since it is to be forgotten; its id is all that is left of it."""
    from data_quality.pii import redact
    from data_quality.sources.base import SKIPPED

    ingest = _reading(store, kept)
    if ingest is None:
        return None
    id = as_written(ingest.manifest())(document)
    asked = [str(ingest.file(SKIPPED)), REASON, redact(id)]
    found = rows("SELECT detail FROM read_parquet(?) WHERE reason = ? AND detail = ? LIMIT 1", asked)
    if not found:
        return None
    said = _request(store, kept, id) or "a request that was withdrawn since"
    return {"document": id, "corpus": kept.name, "kept": False, "reason": REASON, "request": said, "text": ""}


def _request(store: Store, kept: Artifact, id: str) -> str | None:
    """The request to forget a document, in words."""
    asked = standing(store)
    ingest = _reading(store, kept) if asked else None
    found = request_for(asked, id, named=as_written(ingest.manifest()) if ingest else str)
    return str(found) if found else None


def _decision(decisions: Artifact, shard: int, id: str) -> dict[str, Any]:
    [table] = map(str, tables_for(decisions, shard))
    select = "SELECT id, kept, reason, reasons, twin, jaccard, span_counts FROM read_parquet(?) WHERE id = ?"
    [found] = rows(select, [table, id])
    return found


def _skipped(ingest: Artifact | None, document: str) -> str | None:
    """What ingest says about a file or record that became no document."""
    from data_quality.sources.base import SKIPPED

    if ingest is None:
        return None
    table = ingest.path / SKIPPED
    if not table.exists():
        return None
    name = document.split(":", 1)[-1].split("#")[0]
    found = rows(
        "SELECT file, line, reason, detail FROM read_parquet(?) WHERE contains(file, ?) LIMIT 5", [str(table), name]
    )
    if not found:
        return None
    shown = [f"{row['file']}, line {row['line'] or '-'}: {row['reason']} ({row['detail']})" for row in found]
    return f"{document!r} became no document; ingest skipped:\n  " + "\n  ".join(shown)


def _findings(decisions: Artifact, shard: int, id: str) -> list[dict[str, Any]]:
    signals, verdicts = input_of(decisions, "signals"), input_of(decisions, "verdicts")
    rulesets = [Ruleset.model_validate(ruleset) for ruleset in verdicts.manifest()["config"]["rulesets"]]
    tables, *scores = [tables_with(artifact, shard, id) for artifact in (signals, *scores_of(verdicts))]
    resources = Resources().resolved()
    found = explain(id, tables, rulesets, scores, resources.memory_limit, resources.threads)
    return [finding._asdict() for finding in found]


def _contamination(decisions: Artifact, shard: int, decision: dict[str, Any]) -> list[dict[str, Any]]:
    """The benchmark items that a document was dropped for, or lost a piece to, each with the longest text that it
    shares (`start`, `end`: characters of the normalised text); the longest first, at most EVIDENCE.

    The words themselves are not quoted: they stand in the text as it was before personal data was taken out.
    """
    if any(reason.startswith("contaminated.") for reason in decision["reasons"]):
        name = "drops"
    elif "contamination" in (decision["span_counts"] or {}):
        name = "spans"
    else:
        return []
    contamination = input_of(decisions, name, "contamination")
    spans = list(map(str, tables_with(contamination, shard, decision["id"])))
    return rows(
        'SELECT other AS item, arg_max("start", "end" - "start") AS start, arg_max("end", "end" - "start") AS "end" '
        'FROM read_parquet($spans) WHERE id = $id GROUP BY other ORDER BY max("end" - "start") DESC, other LIMIT $most',
        {"spans": spans, "id": decision["id"], "most": EVIDENCE},
    )


def _too_little_left(decisions: Artifact, shard: int, decision: dict[str, Any]) -> list[dict[str, Any]]:
    """For each step that left too little of a document: how much stays, how much is wanted, and in which documents most
    of what goes stands, too, at most EVIDENCE."""
    found = []
    for reason in decision["reasons"]:
        if reason not in LEFT_BY:
            continue
        step = input_of(decisions, "drops", LEFT_BY[reason])
        config, of = step.manifest()["config"], {"id": decision["id"]}
        spans = tables_with(step, shard, decision["id"]) if step.shards() else [step.file("spans.parquet")]
        tables = [path.with_name(LEFTOVERS) for path in spans]
        [left] = rows(
            'SELECT characters, "left" FROM read_parquet($tables) WHERE id = $id',
            {"tables": list(map(str, tables)), **of},
        )
        elsewhere = rows(
            'SELECT other, sum("end" - "start")::BIGINT AS characters FROM read_parquet($spans) '
            "WHERE id = $id AND other NOT NULL GROUP BY other ORDER BY characters DESC, other LIMIT $most",
            {"spans": list(map(str, spans)), **of, "most": EVIDENCE},
        )
        wanted = {name: config[f"min_left_{name.removeprefix('min_')}"] for name in ("min_characters", "min_share")}
        found.append({"reason": reason, **left, **wanted, "elsewhere": elsewhere})
    return found


def _text(kept: Artifact, shard: int, document: str, is_kept: bool) -> str:
    documents = tables_for(kept, shard)
    if len(documents) != 1:
        raise StoreError(f"{kept.name} has lost shard {shard}, or is of an earlier version: run its flow again")
    table = documents[0] if is_kept else documents[0].with_name(DROPPED)
    found = rows("SELECT text FROM read_parquet(?) WHERE id = ?", [str(table), document])
    return str(found[0]["text"])[:EXCERPT] if found else ""


def _split(store: Store, kept: Artifact, document: str) -> dict[str, Any] | None:
    for split in _descendants(store, kept, "split"):
        table = str(split.file("split.parquet"))
        found = rows("SELECT split, reason, twin, jaccard FROM read_parquet(?) WHERE id = ?", [table, document])
        if found:
            return {"artifact": split.name, **found[0]}
    return None


def _mixtures_of(store: Store, kept: Artifact, corpus: str | None) -> list[Artifact]:
    """The mixtures that were drawn of a corpus: where it was named by a folder that `textmill clean` wrote, that of the
    folder alone, for others say nothing of what lies in it."""
    found = _descendants(store, kept, "mixture")
    manifest = cleaned(Path(corpus)) if corpus else {}
    if not manifest:
        return found
    own = {artifact["key"] for artifact in manifest["artifacts"] if artifact["stage"] == "mixture"}
    return [mixture for mixture in found if mixture.key in own]


def _mixtures(mixtures: list[Artifact], kept: Path, id: str) -> list[dict[str, Any]]:
    """How often each mixture draws a kept document, with what was asked of it; one by tokens says nothing of what is
    held out."""
    answer = []
    for mixture in mixtures:
        drawn = rows("SELECT copies FROM read_parquet(?) WHERE id = ?", [str(mixture.file("copies.parquet")), id])
        if not drawn:
            continue
        config = mixture.manifest()["config"]
        [document] = rows("SELECT source, language FROM read_parquet(?) WHERE id = ?", [str(kept), id])
        group = document[config["by"]]
        group = "unknown" if group is None else group
        asked = {"weight": config["weights"].get(group, 1.0), "budget": config["budget"], "unit": config["unit"]}
        answer.append({"artifact": mixture.name, "copies": drawn[0]["copies"], "group": group, **asked})
    return answer


def _used_by(store: Store, kept: Artifact, id: str) -> list[str]:
    """Models that were trained on the document: it is in the training split of their own split, and their mixture, if
    they have one, drew it."""
    splits = _descendants(store, kept, "split")
    held = {_content(a) for a in splits if _has(a.file("split.parquet"), id, "split = 'train'")}
    made_of = {model: _inputs(model) for model in store.list("pretrain")}
    made_of = {model: inputs for model, inputs in made_of.items() if inputs & held}
    mixtures = [a for a in store.list("mixture") if any(_content(a) in inputs for inputs in made_of.values())]
    left_out = {_content(a) for a in mixtures if not _has(a.file("copies.parquet"), id, "copies > 0")}
    models = [model for model, inputs in made_of.items() if not inputs & left_out]
    contents = set(map(_content, models))
    tuned = [a for a in store.list("finetune") if contents & _inputs(a)]
    return [artifact.name for artifact in [*models, *tuned]]


def _has(table: Path, id: str, condition: str) -> bool:
    return bool(rows(f"SELECT 1 FROM read_parquet(?) WHERE id = ? AND {condition}", [str(table), id]))


def _reading(store: Store, kept: Artifact) -> Artifact | None:
    """The ingest that a corpus was made from."""
    return next((artifact for artifact in ancestors(store, kept, {"corpus"}) if artifact.stage == "ingest"), None)


def _descendants(store: Store, artifact: Artifact, stage: str) -> list[Artifact]:
    """What a stage made of an artifact, or of another one with the same content: reuse goes by content."""
    return [a for a in store.list(stage) if _content(artifact) in _inputs(a)]


def _content(artifact: Artifact) -> tuple[str, str]:
    return artifact.stage, artifact.digest


def _inputs(artifact: Artifact) -> set[tuple[str, str]]:
    return {(item["stage"], item["digest"]) for inputs in artifact.manifest()["inputs"].values() for item in inputs}
