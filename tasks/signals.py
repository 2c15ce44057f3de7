"""Signals and signatures: what a document is like, and what it resembles. Tables beside the text, shard by shard."""

import hashlib
from pathlib import Path
from typing import Any

from data_quality.config import SignalsConfig, SignatureConfig
from tasks.parts import Part, build_parts, shard_parts
from tasks.stage import Work, stage
from tasks.store import Artifact
from tasks.tables import database, quoted

LIBRARIES = ("rjieba", "spacy")


@stage(version=3, libraries=LIBRARIES)
def signals(work: Work, config: SignalsConfig, *, corpus: Artifact, languages: Artifact | None = None) -> None:
    """Compute every numeric signal of every document in one pass; words as its language (`languages`) has them."""
    parts = shard_parts(corpus, config) if languages is None else _parts_with_languages(work, config, corpus, languages)
    build_parts(work, "signals.shard", 3, signals_part, parts, libraries=LIBRARIES)


def _parts_with_languages(work: Work, config: SignalsConfig, corpus: Artifact, languages: Artifact) -> list[Part]:
    """One part for every shard of the corpus, with the languages of its documents.

    As a rule the language table is cut as the corpus is. The same documents may also be cut into other shards there:
    then each shard's part of the table is gathered by document id.
    """
    import pyarrow.parquet as pq

    shards, tables = corpus.shards(), [(str(table.path), table.digest) for table in languages.shards()]
    ids = [
        [pq.read_table(path, columns=["id"])["id"] for path in paths]
        for paths in zip([shard.path for shard in shards], [path for path, _ in tables], strict=False)
    ]
    if len(shards) != len(tables) or not all(ours.equals(theirs) for ours, theirs in ids):
        whole = ", ".join(quoted(Path(path)) for path, _ in tables)
        tables = [(str(work.scratch / f"languages-{n:05d}.parquet"), languages.digest) for n in range(len(shards))]
        with database(work.resources, work.scratch / "spill") as connection:
            for shard, (path, _) in zip(shards, tables, strict=True):
                connection.execute(
                    f"COPY (SELECT l.* FROM read_parquet([{whole}]) l SEMI JOIN read_parquet({quoted(shard.path)}) "
                    f"USING (id)) TO {quoted(Path(path))} (FORMAT parquet)"
                )
    return [
        Part({**part.material, "languages": digest}, (*part.arguments, path))
        for part, (path, digest) in zip(shard_parts(corpus, config), tables, strict=True)
    ]


@stage(version=2)
def signatures(work: Work, config: SignatureConfig, *, corpus: Artifact) -> None:
    """Compute the MinHash signature and the shingle hashes of every document."""
    build_parts(work, "signatures.shard", 2, signatures_part, shard_parts(corpus, config))


def signals_part(directory: Path, shard: str, config: SignalsConfig, languages: str | None = None) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.signals import compute_signals

    out = directory / "signals.parquet"
    known = None if languages is None else Path(languages)
    return one_table(out, compute_signals(Path(shard), out, config, languages=known))


def signatures_part(directory: Path, shard: str, config: SignatureConfig) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.dedupe.signatures import signature_shard

    out = directory / "signatures.parquet"
    return one_table(out, signature_shard(Path(shard), out, config))


def one_table(path: Path, counts: dict[str, Any]) -> dict[str, Any]:
    """The result of a part that wrote one table."""
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"counts": counts, "shards": [{"path": path.name, "digest": digest, "counts": counts}]}
