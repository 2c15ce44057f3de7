"""From a document to everything that was made of it, and from a model to its documents. No Prefect and no MLflow."""

from pathlib import Path
from typing import Any

from data_quality.forgotten import Forgotten
from flows.config.loading import ConfigError
from flows.exam_lineage import lineage_of
from tasks.exams.training import Training
from tasks.lineage.descent import Derived, Descent, registered_as
from tasks.lineage.forgotten import Request, request_for, standing
from tasks.running.tables import rows
from tasks.storage.exports import exports_of
from tasks.storage.shared import open_store
from tasks.store import Store, StoreError

SHOWN_DOCUMENTS = 5


def trace(document: str) -> dict[str, Any]:
    """What holds a document and what learned from it.

    Returns:
        `document`, `request` (the request to forget it, or None), and lists of `models`, `tokenizers`, `figures` and
        `data`: each with `artifact`, `aliases`, `registered` and `exports`.

    Args:
        document: its id, as its source or as the store writes it.

    Raises:
        StoreError: no reading of sources in this store holds a document of that id, and nobody asked to forget it.
        UsageError: the id holds personal data, which was hashed with another key than that in the environment.
    """
    store = open_store()
    descent = Descent(store)
    start = descent.decided(document) or descent.holders(Forgotten(ids=(document,)))
    request = _request_for(store, descent, document)
    if not start and request is None:
        raise StoreError(
            f"nothing in this store holds a document {document!r}: `textmill why {document}` looks for a part of an id"
        )
    derived = descent.derived(start)
    return {"document": document, "request": str(request) if request else None, **grouped(store, derived)}


def _request_for(store: Store, descent: Descent, document: str) -> Request | None:
    asked = standing(store)
    if not asked:
        return None
    found = (request_for(asked, document, named=written) for written in [_as_it_is, *descent.writings()])
    return next(filter(None, found), None)


def _as_it_is(name: str) -> str:
    return name


def grouped(store: Store, derived: list[Derived]) -> dict[str, list[dict[str, Any]]]:
    """Artifacts by kind, each with the names under which others may know it."""
    names = registered_as(store, derived)
    aliases: dict[str, list[str]] = {}
    for alias, target in store.aliases().items():
        aliases.setdefault(target["key"], []).append(alias)
    groups: dict[str, list[dict[str, Any]]] = {"models": [], "tokenizers": [], "figures": [], "data": []}
    for each in derived:
        key = each.artifact.key
        row = {
            "artifact": f"{each.artifact.stage}/{key}",
            "documents": len(each.ids),
            "aliases": aliases.get(key, []),
            "registered": names.get(key, []),
            "exports": [export.place for export in exports_of(store, each.artifact)],
        }
        groups[each.kind + "s" if each.kind in ("model", "tokenizer") else each.kind].append(row)
    return groups


def describe(answer: dict[str, Any]) -> str:
    """The answer in words."""
    lines = [answer["document"]]
    if answer["request"]:
        lines.append(f"  to be forgotten: {answer['request']}")
    return "\n".join(lines + described_groups(answer))


def described_groups(groups: dict[str, Any]) -> list[str]:
    """A line for each artifact, under the name of its kind."""
    lines = []
    said = {
        "models": "models that learned from it",
        "tokenizers": "tokenizers that learned from it",
        "figures": "figures, exams and pages over it",
        "data": "data that it is in",
    }
    for name, title in said.items():
        lines.append(f"  {title}: {len(groups[name]) or 'none'}")
        for row in groups[name]:
            beside = [f"alias {alias}" for alias in row["aliases"]]
            beside += [f"registered as {registered}" for registered in row["registered"]]
            beside += [f"written to {place}" for place in row["exports"]]
            stage, _, key = row["artifact"].partition("/")
            lines.append(f"    {stage}/{key[:12]}" + "".join(f"  {text}" for text in beside))
    return lines


def documents_of(name: str, out: Path | None) -> dict[str, Any]:
    """What a model has read: its trainings, the last first, and their documents.

    Args:
        out: a Parquet file to write: `id`, `source`, `copies` (in an epoch) and `training` (0 is the last).

    Returns:
        `model`, `unknown` (ancestors whose training no lineage names), and for each training `corpus`, `split`,
        `documents`, `bytes`, `sources` and the first few ids as `examples`.

    Raises:
        StoreError: no such model.
        ConfigError: nothing is known of its training, or what it was trained on was collected.
    """
    store = open_store()
    model = store.resolve(name)
    trainings, unknown = lineage_of(store, model, name)
    read = [_read(store, training) for training in trainings]
    if out is not None:
        _write(store, trainings, out)
    shown = [{"corpus": t.corpus.name, "split": t.split.name, **of} for t, of in zip(trainings, read, strict=True)]
    return {"model": f"{model.stage}/{model.key}", "trainings": shown, "unknown": list(unknown)}


_DOCUMENTS = """
    SELECT d.id, d.source, strlen(d.text) AS bytes, {copies} AS copies
    FROM read_parquet($documents) d
    SEMI JOIN (FROM read_parquet($split) WHERE split = 'train') s ON s.id = d.id {mixture}
"""
_MIXTURE = "JOIN (FROM read_parquet($mixture) WHERE copies > 0) m ON m.id = d.id"


def _query(store: Store, training: Training) -> tuple[str, dict[str, Any]]:
    store.fetch_parts(training.corpus)
    given: dict[str, Any] = {
        "documents": [str(shard.path) for shard in training.corpus.shards()],
        "split": str(training.split.file("split.parquet")),
    }
    if training.mixture is None:
        return _DOCUMENTS.format(copies="1", mixture=""), given
    given["mixture"] = str(training.mixture.file("copies.parquet"))
    return _DOCUMENTS.format(copies="m.copies", mixture=_MIXTURE), given


def _read(store: Store, training: Training) -> dict[str, Any]:
    query, given = _query(store, training)
    sources = rows(
        f"SELECT source, count(*) AS documents, sum(bytes)::BIGINT AS bytes FROM ({query}) GROUP BY ALL ORDER BY ALL",
        given,
    )
    examples = rows(f"SELECT id FROM ({query}) ORDER BY id LIMIT {SHOWN_DOCUMENTS}", given)
    return {
        "documents": sum(row["documents"] for row in sources),
        "bytes": sum(row["bytes"] for row in sources),
        "sources": sources,
        "examples": [row["id"] for row in examples],
    }


def _write(store: Store, trainings: list[Training], out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if out.exists():
        raise ConfigError(f"{out} exists; remove it or choose another name")
    schema = pa.schema([("id", pa.string()), ("source", pa.string()), ("copies", pa.int64()), ("training", pa.int64())])
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for number, training in enumerate(trainings):
            query, given = _query(store, training)
            found = rows(f"SELECT id, source, copies FROM ({query}) ORDER BY id", given)
            writer.write_table(pa.Table.from_pylist([{**row, "training": number} for row in found], schema=schema))


def describe_documents(answer: dict[str, Any]) -> str:
    """The answer in words."""
    lines = [answer["model"]]
    for training in answer["trainings"]:
        lines.append(
            f"  read {training['documents']:,} documents ({training['bytes']:,} bytes) of {training['corpus']}"
        )
        lines += [f"    {row['documents']:>9,}  {row['source']}" for row in training["sources"]]
        lines.append(f"    such as {', '.join(training['examples'])}")
    lines += [f"  learned before from what no lineage names: {name}" for name in answer["unknown"]]
    return "\n".join(lines)
