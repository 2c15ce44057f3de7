"""Gather what the report says about the corpus: funnel, skipped input, sources, lengths, duplicate families.

Everything is a query over Parquet with a bounded answer; no document is read but those that are shown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from data_quality.sources.base import BENIGN_REASONS
from tasks.report_data import (
    Amount,
    DuplicateFamily,
    Duplicates,
    FamilyMember,
    FamilySize,
    FunnelPart,
    FunnelStep,
    LengthHistogram,
    SkipExample,
    SkipReason,
    SourceRow,
)
from tasks.report_excerpts import Excerpt, excerpts, without_addresses
from tasks.store import Artifact
from tasks.tables import answer

EXAMPLES = 3
FAMILIES = 12
MEMBERS = 12
BINS = 36
SPLITS = ("train", "valid", "test", "excluded")


def paths(artifact: Artifact) -> list[str]:
    """The files of all shards."""
    return [str(shard.path) for shard in artifact.shards()]


def files(artifact: Artifact, directory: str) -> str:
    """A pattern for the Parquet files of one of the artifact's directories."""
    return str(artifact.file(directory) / "*.parquet")


def measure(connection: duckdb.DuckDBPyConnection, signals: Artifact, kept: Artifact, split: Artifact) -> None:
    """Create what the sections ask: view `documents`, tables `measured` and `membership`.

    `measured` has a row for every document: id, bytes, characters, words (of the normalised text) and its decision:
    kept, reason, reasons, twin, jaccard. `membership` is the split's table. `documents` are the kept and the dropped
    texts as they leave the mill: personal data is out of both.
    """
    views = [files(kept, "kept"), files(kept, "dropped")]
    connection.register("documents", connection.read_parquet(views).select("id", "text", "source"))
    connection.execute(
        """
        CREATE TABLE measured AS
        SELECT id, bytes, characters, words, kept, reason, reasons, twin, jaccard
        FROM read_parquet($signals) signals JOIN read_parquet($decisions) decisions USING (id)
        """,
        {"signals": paths(signals), "decisions": files(kept, "decisions")},
    )
    connection.execute("CREATE TABLE membership AS FROM read_parquet(?)", [str(split.file("split.parquet"))])


def funnel(connection: duckdb.DuckDBPyConnection, made: Mapping[str, Artifact]) -> list[FunnelStep]:
    """From the text that was read to tokens, one step a stage."""
    read, normal = made["raw"].counts(), made["normalized"].counts()
    left, tokens = made["kept"].counts(), made["tokens"].counts()
    [passed] = answer(
        connection,
        "SELECT count(*) AS documents, coalesce(sum(bytes), 0)::BIGINT AS bytes FROM measured "
        "WHERE reason IS NULL OR starts_with(reason, 'duplicate.') OR starts_with(reason, 'contaminated.')",
    )
    rulesets = [ruleset["name"] for ruleset in made["verdicts"].manifest()["config"]["rulesets"]]
    dedupe = made["duplicates"].manifest()["config"]
    vocabulary = made["tokenizer"].counts().get("vocab_size")
    out = Amount(documents=left["documents"], bytes=left["bytes"])
    edits = made["kept"].manifest()["config"]["edits"]
    return [
        FunnelStep(
            name="read",
            note=f"{read['files']:,} files of {read['bytes'] / 1e6:,.1f} MB; {read['skipped']:,} files or records "
            "skipped",
            out=Amount(documents=read["documents"], bytes=read["text_bytes"]),
        ),
        FunnelStep(
            name="normalise",
            note="Unicode, mojibake, white space; documents left empty go",
            out=Amount(documents=normal["written"], bytes=normal["text_bytes_out"]),
        ),
        FunnelStep(
            name="rules",
            note="rulesets: " + ", ".join(rulesets).replace("_", " "),
            out=Amount(documents=passed["documents"], bytes=passed["bytes"]),
        ),
        FunnelStep(
            name="dedupe",
            note=f"equal texts, then true Jaccard similarity of at least {dedupe['near']['threshold']:g}"
            + (f"; what the line edits of {', '.join(edits)} remove leaves the kept text" if edits else ""),
            out=out,
        ),
        FunnelStep(
            name="split",
            note="by hash of the document's id; near-twins of test documents are excluded from training",
            out=out,
            parts=_parts(connection, made["kept"], made["tokens"]),
        ),
        FunnelStep(
            name="tokens",
            note="byte-level BPE" + (f" with {vocabulary:,} tokens" if vocabulary else ", the pinned tokenizer"),
            into=out,
            out=Amount(documents=tokens["documents"], bytes=tokens["bytes"], tokens=tokens["tokens"]),
        ),
    ]


def _parts(connection: duckdb.DuckDBPyConnection, kept: Artifact, tokens: Artifact) -> list[FunnelPart]:
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


def skips(connection: duckdb.DuckDBPyConnection, raw: Artifact) -> list[SkipReason]:
    """What ingest could not read, by reason, with places."""
    found = answer(
        connection,
        """
        SELECT reason, count(*) AS records, count(DISTINCT file) AS files,
               arg_min(struct_pack(file, line, record, detail), md5(file || coalesce(line, record, 0)), $n) AS examples
        FROM read_parquet($table) GROUP BY reason ORDER BY records DESC, reason
        """,
        {"table": str(raw.path / "skipped.parquet"), "n": EXAMPLES},
    )
    return [
        SkipReason(
            reason=row["reason"].replace("_", " ")
            + (" (nothing is wrong with it)" if row["reason"] in BENIGN_REASONS else ""),
            records=row["records"],
            files=row["files"],
            examples=[
                SkipExample(**{**example, "detail": without_addresses(example["detail"] or "")})
                for example in row["examples"]
            ],
        )
        for row in found
    ]


def sources(connection: duckdb.DuckDBPyConnection, raw: Artifact, kept: Artifact) -> list[SourceRow]:
    """Documents and bytes of every source, as read and as kept."""
    return [
        SourceRow(**row)
        for row in answer(
            connection,
            """
            WITH before AS (
                SELECT source, count(*) AS raw_documents, sum(strlen(text))::BIGINT AS raw_bytes
                FROM read_parquet($raw) GROUP BY source
            ), after AS (
                SELECT source, count(*) AS kept_documents, sum(strlen(text))::BIGINT AS kept_bytes
                FROM read_parquet($kept) GROUP BY source
            )
            SELECT source AS name, raw_documents, raw_bytes,
                   coalesce(kept_documents, 0) AS kept_documents, coalesce(kept_bytes, 0) AS kept_bytes
            FROM before LEFT JOIN after USING (source) ORDER BY raw_bytes DESC, name
            """,
            {"raw": paths(raw), "kept": files(kept, "kept")},
        )
    ]


def lengths(connection: duckdb.DuckDBPyConnection) -> list[LengthHistogram]:
    """Histograms of characters and words."""
    return [found for unit in ("characters", "words") if (found := _histogram(connection, unit)) is not None]


def _histogram(connection: duckdb.DuckDBPyConnection, unit: str) -> LengthHistogram | None:
    [reach] = answer(
        connection,
        f"SELECT min({unit}) AS low, max({unit}) AS high, approx_quantile({unit}, 0.5) AS raw, "
        f"approx_quantile({unit}, 0.5) FILTER (kept) AS kept FROM measured WHERE {unit} > 0",
    )
    if reach["low"] is None:
        return None
    low, high = reach["low"], reach["high"] + 1
    # whole numbers, so that no bin lies between two lengths
    edges = sorted({low, *(round(low * (high / low) ** (i / BINS)) for i in range(1, BINS)), high})
    bins = {
        row["bin"]: row
        for row in answer(
            connection,
            f"SELECT len(list_filter($edges, lambda edge: edge <= {unit})) - 1 AS bin, count(*) AS raw, "
            f"count(*) FILTER (kept) AS kept FROM measured WHERE {unit} > 0 GROUP BY bin",
            {"edges": edges},
        )
    }
    counts = [bins.get(number, {"raw": 0, "kept": 0}) for number in range(len(edges) - 1)]
    return LengthHistogram(
        unit=unit,
        edges=[float(edge) for edge in edges],
        raw=[row["raw"] for row in counts],
        kept=[row["kept"] for row in counts],
        raw_median=reach["raw"],
        kept_median=reach["kept"],
    )


def duplicates(connection: duckdb.DuckDBPyConnection, signatures: Artifact, found: Artifact) -> Duplicates:
    """The families: how many of each size, and the largest with what was dropped in their favour."""
    table, counts = str(found.file("duplicates.parquet")), found.counts()
    sizes = answer(
        connection,
        "SELECT family_size AS size, count(DISTINCT kept) AS families FROM read_parquet(?) GROUP BY size ORDER BY size",
        [table],
    )
    largest = answer(
        connection,
        """
        SELECT kept, any_value(family_size) AS size,
               arg_min(struct_pack(id := dropped, kind, jaccard), dropped, $members) AS members
        FROM read_parquet($table) GROUP BY kept ORDER BY size DESC, kept LIMIT $families
        """,
        {"table": table, "members": MEMBERS, "families": FAMILIES},
    )
    ids = [row["kept"] for row in largest] + [member["id"] for row in largest for member in row["members"]]
    texts = excerpts(connection, ids)
    shape, near = signatures.manifest()["config"], found.manifest()["config"]["near"]
    return Duplicates(
        method=f"MinHash of {shape['size']}-{shape['unit']} shingles in {shape['bands']} bands of {shape['rows']} "
        f"rows; a candidate goes only if its true Jaccard similarity with the document that stays is at least "
        f"{near['threshold']:g}",
        exact=counts["exact"],
        near=counts["near"],
        families=counts["families"],
        sizes=[FamilySize(**row) for row in sizes],
        largest=[_family(row, texts) for row in largest],
    )


def _family(row: Mapping[str, Any], texts: Mapping[str, Excerpt]) -> DuplicateFamily:
    members: Sequence[Mapping[str, Any]] = row["members"]
    return DuplicateFamily(
        size=row["size"],
        kept=row["kept"],
        kept_source=texts[row["kept"]].source,
        excerpt=texts[row["kept"]].text,
        members=[FamilyMember(**member, source=texts[member["id"]].source) for member in members],
    )
