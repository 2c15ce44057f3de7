"""Signals and signatures: what a document is like, and what it resembles. Tables beside the text, shard by shard."""

import hashlib
from pathlib import Path
from typing import Any

from data_quality.config import SignalsConfig, SignatureConfig
from tasks.parts import build_parts, shard_parts
from tasks.stage import Work, stage
from tasks.store import Artifact


@stage(version=2, libraries=("spacy",))
def signals(work: Work, config: SignalsConfig, *, corpus: Artifact) -> None:
    """Compute every numeric signal of every document in one pass."""
    build_parts(work, "signals.shard", 2, signals_part, shard_parts(corpus, config), libraries=("spacy",))


@stage(version=2)
def signatures(work: Work, config: SignatureConfig, *, corpus: Artifact) -> None:
    """Compute the MinHash signature and the shingle hashes of every document."""
    build_parts(work, "signatures.shard", 2, signatures_part, shard_parts(corpus, config))


def signals_part(directory: Path, shard: str, config: SignalsConfig) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.signals import compute_signals

    out = directory / "signals.parquet"
    return one_table(out, compute_signals(Path(shard), out, config))


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
