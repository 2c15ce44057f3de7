"""Personal data: where it is in every document, as spans, and metadata without it; `filter_corpus` writes neither."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_quality.config import PiiConfig, StrictModel
from data_quality.errors import UsageError
from tasks.running.parts import Part, build_parts, one_table
from tasks.stage import Work, stage
from tasks.store import Artifact

METADATA = "metadata.parquet"  # beside the spans of a shard
KEY_VARIABLE = "TEXTMILL_PII_KEY"


class PiiRequest(StrictModel):
    """What is looked for, and for hashed replacements a fingerprint of the key: another key, another result."""

    find: PiiConfig
    key_fingerprint: str | None


def pii_request(config: PiiConfig) -> PiiRequest:
    """The configuration with the fingerprint of the key in the environment, where the style needs one.

    Raises:
        ValueError: style `hashed` without a key.
    """
    return PiiRequest(find=config, key_fingerprint=_fingerprint(config))


@stage(version=3)
def pii(work: Work, config: PiiRequest, *, corpus: Artifact) -> None:
    """Find personal data in every document of a normalised corpus, and write its metadata without."""
    material = config.model_dump(mode="json")
    parts = [Part({"config": material, "shard": shard.digest}, (str(shard.path), config)) for shard in corpus.shards()]
    build_parts(work, "pii.shard", 3, pii_part, parts)
    rows = [
        {"category": name, "spans": count}
        for name, count in work.counts.items()
        if name not in ("documents", "with_pii", "metadata")
    ]
    work.table("pii", rows, "Personal data that is replaced wherever text leaves the mill")


def pii_part(directory: Path, shard: str, config: PiiRequest) -> dict[str, Any]:
    """One shard, in a worker. The key comes from the worker's own environment: arguments may be shown in an error."""
    from data_quality.pii import pii_shard
    from data_quality.pii_metadata import pii_metadata_shard

    out, key = directory / "spans.parquet", key_of(config)
    counts = pii_shard(Path(shard), out, config.find, key=key)
    return one_table(out, counts | pii_metadata_shard(Path(shard), directory / METADATA, config.find, key))


def key_of(config: PiiRequest) -> bytes | None:
    """The key in this process's environment. Raises UsageError if it is not the one that was asked with."""
    if _fingerprint(config.find) != config.key_fingerprint:
        raise UsageError(f"{KEY_VARIABLE} is not the key that this was begun with: set it and run again")
    return _key(config.find)


def namer(config: PiiRequest | None) -> Callable[[str], str]:
    """How ids and other names are written: without personal data, or, where none is looked for in them, as they are."""
    if config is None or not config.find.ids:
        return str
    from data_quality.pii_names import Pseudonyms

    return Pseudonyms(config.find, key_of(config))


def _key(config: PiiConfig) -> bytes | None:
    return os.environ.get(KEY_VARIABLE, "").encode() if config.style == "hashed" else None


def _fingerprint(config: PiiConfig) -> str | None:
    from data_quality.pii import Replacer, key_fingerprint

    key = _key(config)
    Replacer(config, key)
    return key_fingerprint(key) if key is not None else None
