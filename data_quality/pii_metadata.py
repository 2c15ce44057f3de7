"""Personal data in the metadata of documents: replaced value by value, so that JSON stays JSON.

A value is read behind the name of its field, as text behind a word: `tel` makes a telephone number of a bare number,
`version` none of an address. In the name of a field personal data becomes a hash, so that no two come to one name.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_quality.config import PiiConfig
from data_quality.documents import canonical_metadata
from data_quality.pii import find_pii
from data_quality.pii_names import MAYBE, Pseudonyms
from data_quality.shards import read_batches, whole_parquet
from data_quality.spans import Edit, apply_edits

METADATA_SCHEMA = pa.schema(
    [pa.field("id", pa.string(), nullable=False), pa.field("metadata", pa.string(), nullable=False)]
)


def redact_metadata(metadata: str, config: PiiConfig, key: bytes | None = None) -> str:
    """Metadata (JSON as `canonical_metadata` writes it) without personal data in names, strings and whole numbers.

    Raises:
        ValueError: not JSON; style `hashed` without a key.
    """
    if not MAYBE.search(metadata):
        return metadata
    return canonical_metadata(_redacted(json.loads(metadata), config, key))


def _redacted(value: Any, config: PiiConfig, key: bytes | None, name: str = "") -> Any:
    """`name`: of the field, which may say what a bare number is (`tel`, `version`)."""
    if isinstance(value, dict):
        named = Pseudonyms(config, key)
        return {named(field): _redacted(item, config, key, field) for field, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item, config, key, name) for item in value]
    if isinstance(value, str):
        return _replaced(value, name, config, key)
    if isinstance(value, int) and not isinstance(value, bool):
        replaced = _replaced(str(value), name, config, key)
        return value if replaced == str(value) else replaced
    return value


def _replaced(text: str, name: str, config: PiiConfig, key: bytes | None) -> str:
    before = f"{name.replace('_', ' ')}: "
    spans = find_pii(before + text, config, key)
    start = len(before)
    edits = [Edit(max(0, s.start - start), s.end - start, s.replacement) for s in spans if s.end > start]
    return apply_edits(text, edits)


def pii_metadata_shard(in_path: Path, out_path: Path, config: PiiConfig, key: bytes | None = None) -> dict[str, int]:
    """Write id and redacted metadata (METADATA_SCHEMA) of the documents of a shard whose metadata change.

    Returns {"metadata": how many}. Memory: one batch.

    Raises:
        ValueError: no `id` and `metadata` in the shard; metadata that is not JSON; style `hashed` without a key.
    """
    count = 0
    with whole_parquet(out_path, METADATA_SCHEMA) as writer:
        for batch in read_batches(in_path, ["id", "metadata"]):
            rows = []
            for id, metadata in zip(batch["id"].to_pylist(), batch["metadata"].to_pylist(), strict=True):
                redacted = redact_metadata(metadata, config, key)
                if redacted != metadata:
                    rows.append({"id": id, "metadata": redacted})
            writer.write_table(pa.Table.from_pylist(rows, schema=METADATA_SCHEMA))
            count += len(rows)
    return {"metadata": count}
