"""Normalise: Unicode, mojibake, white space; one shard in, one shard out."""

from pathlib import Path
from typing import Any

from data_quality.config import NormalizeConfig
from data_quality.hashing import combine_digests
from tasks.running.parts import build_parts, shard_parts
from tasks.stage import Work, stage
from tasks.store import Artifact

LIBRARIES = ("ftfy", "unicode")


@stage(version=1, libraries=LIBRARIES)
def normalize(work: Work, config: NormalizeConfig, *, corpus: Artifact) -> None:
    """Normalise every shard of a corpus."""
    parts = shard_parts(corpus, config)
    shards = build_parts(work, "normalize.shard", 1, normalize_part, parts, libraries=LIBRARIES)
    work.digest = combine_digests(shard.digest for shard in shards)


def normalize_part(directory: Path, shard: str, config: NormalizeConfig) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.documents import documents_digest
    from data_quality.normalize import normalize_shard

    out = directory / "documents.parquet"
    counts = normalize_shard(Path(shard), out, config)
    digest = documents_digest(out)
    return {
        "counts": counts,
        "shards": [{"path": out.name, "digest": digest, "counts": counts}],
        "digest": digest,
    }
