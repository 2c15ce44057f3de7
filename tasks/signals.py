"""Signals and signatures: what a document is like, and what it resembles. Tables beside the text, shard by shard."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_quality.config import SignalsConfig, SignatureConfig
from tasks.running.parts import Part, build_parts, digests, one_table, shard_parts, tables_beside
from tasks.stage import Work, stage
from tasks.store import Artifact

LIBRARIES = ("rjieba", "spacy", "unicode")


@stage(version=6, libraries=LIBRARIES)
def signals(work: Work, config: SignalsConfig, *, corpus: Artifact, languages: Artifact | None = None) -> None:
    """Compute every numeric signal of every document in one pass; words as its language (`languages`) has them."""
    parts = shard_parts(corpus, config) if languages is None else parts_with_languages(config, corpus, languages)
    build_parts(work, "signals.shard", 6, signals_part, parts, libraries=LIBRARIES)


def parts_with_languages(config: SignalsConfig, corpus: Artifact, languages: Artifact) -> list[Part]:
    """One part for every shard of the corpus, with the languages of its documents."""
    return [
        Part({**part.material, "languages": digest}, (*part.arguments, paths))
        for part, (digest, paths) in zip(
            shard_parts(corpus, config), tables_beside(digests(corpus), languages), strict=True
        )
    ]


@stage(version=5, libraries=("unicode",))
def signatures(work: Work, config: SignatureConfig, *, corpus: Artifact) -> None:
    """Compute the MinHash signature and the shingle hashes of every document."""
    parts = shard_parts(corpus, config)
    build_parts(work, "signatures.shard", 5, signatures_part, parts, libraries=("unicode",))


def signals_part(directory: Path, shard: str, config: SignalsConfig, languages: Sequence[str] = ()) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.signals import compute_signals

    out = directory / "signals.parquet"
    tables = [Path(table) for table in languages]
    return one_table(out, compute_signals(Path(shard), out, config, languages=tables))


def signatures_part(directory: Path, shard: str, config: SignatureConfig) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.dedupe.signatures import signature_shard

    out = directory / "signatures.parquet"
    return one_table(out, signature_shard(Path(shard), out, config))
