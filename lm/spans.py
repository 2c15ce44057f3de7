"""Beside a token shard: the tokens that do not stand for the bytes which their id says, and what spelling them costs.

Only tokenizers without fixed bytes have them (`lm.tokenizer.has_fixed_bytes`): `<unk>` wherever it stands, and in
WordPiece a token with whitespace before it. A row is one token: its position in the shard, its bytes, its nats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from lm.damaged import AGAIN, DamagedFile, read_table
from lm.tokenizers.spans import Encoded

SPAN_SCHEMA = pa.schema([("position", pa.int64()), ("bytes", pa.int32()), ("spelling_nats", pa.float64())])


@dataclass(frozen=True)
class Spans:
    """The differing tokens of one shard, by position (arrays in parallel), and the bytes of all others by id."""

    position: np.ndarray
    bytes: np.ndarray
    spelling_nats: np.ndarray
    by_id: np.ndarray

    @classmethod
    def read(cls, path: Path, by_id: np.ndarray) -> "Spans":
        """From `<stem>.spans.parquet`."""
        table = read_table(path, SPAN_SCHEMA.names)
        if table.schema.remove_metadata() != SPAN_SCHEMA or any(column.null_count for column in table.columns):
            raise DamagedFile(f"{path}: not a table of {', '.join(SPAN_SCHEMA.names)}: {AGAIN}")
        position, size, nats = (table.column(name).to_numpy() for name in SPAN_SCHEMA.names)
        return cls(position, size, nats, by_id)

    def of(self, tokens: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
        """(bytes int64, spelling nats float64) of the tokens that stand in the shard from `start` on."""
        size, nats = self.by_id[tokens], np.zeros(len(tokens))
        low, high = np.searchsorted(self.position, [start, start + len(tokens)])
        places = self.position[low:high] - start
        size[places], nats[places] = self.bytes[low:high], self.spelling_nats[low:high]
        return size, nats


def differing(encoded: Sequence[Encoded], start: int, by_id: np.ndarray, unknown: int | None) -> pa.RecordBatch:
    """The rows for texts that stand one behind the other from position `start` of a shard on."""
    ids, size, nats = (np.concatenate([getattr(text, name) for text in encoded] or [[]]) for name in Encoded._fields)
    ids = ids.astype(np.int64)
    rows = np.flatnonzero((size != by_id[ids]) | (ids == (-1 if unknown is None else unknown)))
    arrays = [
        pa.array(c, type=f.type) for c, f in zip((rows + start, size[rows], nats[rows]), SPAN_SCHEMA, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=SPAN_SCHEMA)
