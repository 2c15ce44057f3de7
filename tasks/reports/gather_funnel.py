"""Gather the funnel: from the text that was read to the kept text, its split, its tokens and what a mixture draws."""

from collections.abc import Sequence
from typing import Any

import duckdb

from tasks.reports.data import Amount, FunnelPart, FunnelStep
from tasks.reports.gather_view import RULES, paths, step_of
from tasks.reports.inputs import Reported
from tasks.running.tables import answer
from tasks.store import Artifact

SPLITS = ("train", "valid", "test", "excluded")


def funnel(connection: duckdb.DuckDBPyConnection, made: Reported) -> list[FunnelStep]:
    """The steps that are enabled, in their order; a document is lost at the step that gave its first reason."""
    read, left = made.raw.counts(), made.kept.counts()
    documents, size = read["documents"], read["text_bytes"]
    steps = [
        FunnelStep(
            name="read",
            note=f"{read['files']:,} {'file' if read['files'] == 1 else 'files'} of {read['bytes'] / 1e6:,.1f} MB; "
            f"{read['skipped']:,} files or records skipped",
            out=Amount(documents=documents, bytes=size),
        )
    ]
    if made.normalized != made.raw:
        normal = made.normalized.counts()
        documents, size = normal["written"], normal["text_bytes_out"]
        steps.append(
            FunnelStep(
                name="normalise",
                note="Unicode, mojibake, white space; documents left empty go",
                out=Amount(documents=documents, bytes=size),
            )
        )
    lost = _lost(connection)
    for name, note in _curation(made):
        documents, size = documents - lost[name][0], size - lost[name][1]
        steps.append(FunnelStep(name=name, note=note, out=Amount(documents=documents, bytes=size)))
    out = Amount(documents=left["documents"], bytes=left["bytes"])
    if left["bytes"] != size:
        steps.append(FunnelStep(name="edit", note="what leaves the kept texts: " + _edits(made), out=out))
    if made.split is not None and made.tokens is not None:
        steps += _trained(connection, made, made.tokens, out)
    if made.mixture:
        steps.append(_drawn(connection, made, made.mixture[0], steps))
    return steps


def _lost(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[int, int]]:
    """Documents and bytes by the step that gave the first reason; nothing for a step that gave none."""
    found = dict.fromkeys((RULES, "url", "dedupe", "lines", "substring", "decontaminate"), (0, 0))
    for row in answer(
        connection,
        "SELECT reason, count(*) AS documents, sum(bytes)::BIGINT AS bytes FROM measured "
        "WHERE NOT kept GROUP BY reason",
    ):
        before = found[step_of(row["reason"])]
        found[step_of(row["reason"])] = (before[0] + row["documents"], before[1] + row["bytes"])
    return found


def _curation(made: Reported) -> list[tuple[str, str]]:
    """Name and note of the steps that drop documents, in the order of their reasons."""
    rulesets = [ruleset["name"] for ruleset in made.verdicts.manifest()["config"]["rulesets"]]
    dedupe = made.duplicates.manifest()["config"]
    near = dedupe["near"]
    how = ["equal texts"] if dedupe["exact"]["enabled"] else []
    how += [f"true Jaccard similarity of at least {near['threshold']:g}"] if near["enabled"] else []
    stages = _inputs(made.decisions, "drops")
    steps = [(RULES, ("rulesets: " + ", ".join(rulesets).replace("_", " ")) if rulesets else "none are chosen")]
    if made.addresses:
        steps.append(("url", "documents of one address"))
    if how:
        steps.append(("dedupe", ", then ".join(how)))
    if "boilerplate" in stages:
        steps.append(("lines", "documents of which too little is left without lines that many share"))
    if "substring" in stages:
        steps.append(("substring", "documents of which too little is left without pieces that stand in another"))
    if "contamination" in stages:
        steps.append(("decontaminate", "documents that share a row of words with an item of a benchmark"))
    return steps


def _inputs(decisions: Artifact, name: str) -> set[str]:
    """The stages of one group of the corpus' inputs: those that drop documents, those that cut texts."""
    return {item["stage"] for item in decisions.manifest()["inputs"][name]}


def _edits(made: Reported) -> str:
    stages = _inputs(made.decisions, "spans")
    edits: Sequence[str] = made.decisions.manifest()["config"]["edits"]
    parts = {
        "boilerplate": "boilerplate lines",
        "substring": "repeated pieces",
        "pii": "personal data (replaced)",
        "contamination": "text of benchmarks",
    }
    said = [f"lines that {', '.join(edits)} edits".replace("_", " ")] if edits else []
    return ", ".join([*said, *(words for stage, words in parts.items() if stage in stages)])


def _trained(connection: duckdb.DuckDBPyConnection, made: Reported, tokens: Artifact, out: Amount) -> list[FunnelStep]:
    counts: dict[str, Any] = tokens.counts()
    vocabulary = made.tokenizer.counts().get("vocab_size") if made.tokenizer else None
    return [
        FunnelStep(
            name="split",
            note="by hash of the document's id; near-twins of test documents are excluded from training",
            out=out,
            parts=_parts(connection, tokens),
        ),
        FunnelStep(
            name="tokens",
            note="byte-level BPE" + (f" with {vocabulary:,} tokens" if vocabulary else ", the pinned tokenizer"),
            into=out,
            out=Amount(documents=counts["documents"], bytes=counts["bytes"], tokens=counts["tokens"]),
        ),
    ]


def _parts(connection: duckdb.DuckDBPyConnection, tokens: Artifact) -> list[FunnelPart]:
    found = {
        row["split"]: Amount(documents=row["documents"], bytes=row["bytes"], tokens=row["tokens"])
        for row in answer(
            connection,
            "SELECT split, count(*) AS documents, sum(bytes)::BIGINT AS bytes, sum(tokens)::BIGINT AS tokens "
            "FROM membership JOIN read_parquet(?) USING (id) GROUP BY split",
            [[str(shard.path.with_suffix(".parquet")) for shard in tokens.shards()]],
        )
    }
    return [FunnelPart(name=name, amount=found[name]) for name in SPLITS if name in found]


def _drawn(
    connection: duckdb.DuckDBPyConnection, made: Reported, mixture: Artifact, steps: Sequence[FunnelStep]
) -> FunnelStep:
    """What the mixture draws, each document once: of all that was kept or, where a model is trained, of what trains."""
    drawn = "FROM read_parquet($copies) c JOIN read_parquet($tables) t USING (id)"
    into = None
    if made.split is not None and made.tokens is not None:
        tables = [str(shard.path.with_suffix(".parquet")) for shard in made.tokens.shards()]
        sizes = "sum(bytes)::BIGINT AS bytes, sum(tokens)::BIGINT AS tokens"
        drawn += " SEMI JOIN (FROM membership WHERE split = 'train') s ON s.id = c.id"
        into = next((part.amount for step in steps for part in step.parts if part.name == "train"), None)
    else:
        tables, sizes = paths(made.kept), "sum(strlen(text))::BIGINT AS bytes, NULL AS tokens"
    [found] = answer(
        connection,
        f"SELECT count(*) AS documents, coalesce(sum(copies), 0)::BIGINT AS copies, {sizes} {drawn} WHERE copies > 0",
        {"copies": str(mixture.file("copies.parquet")), "tables": tables},
    )
    return FunnelStep(
        name="mixture",
        note=f"documents that are drawn, each counted once; {found['copies']:,} copies in all",
        into=into,
        out=Amount(documents=found["documents"], bytes=found["bytes"] or 0, tokens=found["tokens"]),
    )
