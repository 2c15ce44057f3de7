"""MinHash signatures (Broder 1997) cut into bands, one Parquet shard of documents in, one of signatures out.

The hash family is strong multiply-shift, h(x) = (a*x + b mod 2^64) >> 32 on 32-bit keys with random 64-bit a and b
(Dietzfelbinger 1996; Thorup, "High Speed Hashing for Integers and Strings", section 3.3): strongly universal, exact in
64-bit integers, the same on every machine. The keys are the upper halves of shingle hashes, which are mixed already;
a key collision can only add or lose a *candidate*, as verification compares whole 64-bit shingles.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_quality.compiled import kernel
from data_quality.config import SignatureConfig
from data_quality.dedupe.shingles import NORMAL_FORM_VERSION, shingle_texts
from data_quality.shards import BATCH_ROWS, read_batches, whole_parquet

CONFIG_KEY = b"textmill.signature"
DOCUMENT_COLUMNS = ("id", "source", "text", "text_hash")
_BATCH_BYTES = 4_000_000  # text shingled at once: bounds memory, large enough that Python's share is nothing

UInt64s = npt.NDArray[np.uint64]


def signature_schema(config: SignatureConfig) -> pa.Schema:
    """The columns of a signature shard; its metadata says what the signatures were made with."""
    made_with = f"{NORMAL_FORM_VERSION} {config.model_dump_json()}"
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("text_hash", pa.string(), nullable=False),
            pa.field("chars", pa.int64(), nullable=False),
            pa.field("shingle_count", pa.int32(), nullable=False),
            pa.field("shingles_hash", pa.uint64(), nullable=False),
            *(pa.field(name, pa.uint64(), nullable=False) for name in band_columns(config.bands)),
            pa.field("shingles", pa.list_(pa.uint64()), nullable=False),
        ],
        metadata={CONFIG_KEY: made_with.encode()},
    )


def band_columns(bands: int) -> list[str]:
    """The names of the band columns: a column each, so that one band is read without the others."""
    return [f"b{band}" for band in range(bands)]


def hash_parameters(config: SignatureConfig) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The (a, b) of bands x rows hash functions: outputs of SplitMix64 from the seed, read as signed 64-bit."""
    state = config.seed
    draws = []
    for _ in range(2 * config.bands * config.rows):
        state = (state + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed = state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        draws.append(mixed ^ (mixed >> 31))
    parameters = np.array(draws, dtype=np.uint64).view(np.int64)
    return parameters[0::2].copy(), parameters[1::2].copy()


@kernel
def _fold(state, value):  # type: ignore[no-untyped-def]
    state = (state ^ value) * np.uint64(0x9E3779B97F4A7C15)
    return state ^ (state >> np.uint64(29))


@kernel
def _minimum(keys, count, a, b):  # type: ignore[no-untyped-def]
    """The smallest a*key + b, wrapping, in signed order: any fixed order of the values serves, and this vectorises."""
    smallest = np.int64(0x7FFFFFFFFFFFFFFF)
    for i in range(count):
        value = a * keys[i] + b
        smallest = min(smallest, value)
    return smallest


@kernel
def _band_batch(shingles, ends, a, b, rows, bands, hashes):  # type: ignore[no-untyped-def]
    """Fill bands[document, band] with folded minima, and hashes[document] with the hash of the whole shingle set."""
    start = 0
    longest = 1
    for d in range(len(ends)):
        longest = max(longest, ends[d] - start)
        start = ends[d]
    keys = np.empty(longest, dtype=np.int64)
    start = 0
    for d in range(len(ends)):
        count = ends[d] - start
        whole = np.uint64(count)
        for i in range(count):
            shingle = shingles[start + i]
            keys[i] = np.int64(shingle >> np.uint64(32))
            whole = _fold(whole, shingle)
        hashes[d] = whole
        for band in range(bands.shape[1]):
            folded = np.uint64(0xA4093822299F31D0)
            for k in range(band * rows, (band + 1) * rows):
                smallest = np.uint64(_minimum(keys, count, a[k], b[k]))
                folded = _fold(folded, smallest >> np.uint64(32))
            bands[d, band] = folded
        start = ends[d]


def band_values(shingles: UInt64s, ends: npt.NDArray[np.int64], config: SignatureConfig) -> tuple[UInt64s, UInt64s]:
    """MinHash bands and set hashes of n shingle sets laid out as `shingle_texts` returns them.

    Returns:
        (bands, hashes): bands[n, config.bands], each value the fold of `rows` minima; hashes[n], a 64-bit hash of the
        sorted set, so that equal sets can be collapsed without reading them.
    """
    a, b = hash_parameters(config)
    bands = np.empty((len(ends), config.bands), dtype=np.uint64)
    hashes = np.empty(len(ends), dtype=np.uint64)
    _band_batch(shingles, ends, a, b, config.rows, bands, hashes)
    return bands, hashes


def signature_shard(
    in_path: Path,
    out_path: Path,
    config: SignatureConfig,
    progress: Callable[[int], None] = lambda n: None,
) -> dict[str, int]:
    """Write the signatures of one documents shard (columns id, source, text, text_hash), in its order.

    Memory: one row group of the input and its shingles, which take about as many bytes as the text.

    Returns:
        Counts: documents, bytes (UTF-8 text), shingles (distinct per document, summed).

    Raises:
        ValueError: a column is missing, or an id, source, text or hash is null.
    """
    counts = {"documents": 0, "bytes": 0, "shingles": 0}
    schema = signature_schema(config)
    with signature_writer(out_path, schema) as writer:
        for batch in read_batches(in_path, DOCUMENT_COLUMNS):
            for part in _by_bytes(batch):
                signed = _sign(part, config, schema, in_path)
                writer.write_batch(signed, row_group_size=BATCH_ROWS)
                counts["documents"] += part.num_rows
                counts["bytes"] += pc.sum(pc.binary_length(part["text"])).as_py() or 0
                counts["shingles"] += pc.sum(signed["shingle_count"]).as_py() or 0
                progress(part.num_rows)
    return counts


def signature_writer(path: Path, schema: pa.Schema) -> AbstractContextManager[pq.ParquetWriter]:
    """A writer of a signature shard, which appears when the block ends well."""
    return whole_parquet(
        path,
        schema,
        # hashes do not compress: trying costs more than writing them
        compression=dict.fromkeys(("id", "source", "text_hash", "chars", "shingle_count"), "zstd"),
        use_dictionary=["source"],
        write_statistics=False,
    )


def _by_bytes(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch so that no part but a single document has much more than `_BATCH_BYTES` of text."""
    lengths = pc.fill_null(pc.binary_length(batch["text"]), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    parts = np.cumsum(lengths) // _BATCH_BYTES
    starts = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), batch.num_rows]
    for start, stop in pairwise(starts):
        if stop > start:
            yield batch.slice(start, stop - start)


def _sign(batch: pa.RecordBatch, config: SignatureConfig, schema: pa.Schema, in_path: Path) -> pa.RecordBatch:
    for name in DOCUMENT_COLUMNS:
        if batch[name].null_count:
            row = pc.index(pc.is_null(batch[name]), True).as_py()
            raise ValueError(f"{in_path}: document {batch['id'][row].as_py()!r} has no {name}")
    data, offsets = text_buffers(batch["text"])
    shingles, ends = shingle_texts(data, offsets, unit=config.unit, size=config.size, numbers=config.numbers)
    named = [batch[name].cast(pa.string()) for name in ("id", "source", "text_hash")]
    return signature_batch(named, pc.utf8_length(batch["text"]).cast(pa.int64()), shingles, ends, config, schema)


def signature_batch(
    named: Sequence[pa.Array],
    chars: pa.Array,
    shingles: UInt64s,
    ends: npt.NDArray[np.int64],
    config: SignatureConfig,
    schema: pa.Schema,
) -> pa.RecordBatch:
    """Rows of a signature shard: id, source and text hash in `named`, shingles laid out as by `shingle_texts`."""
    bands, hashes = band_values(shingles, ends, config)
    starts = np.concatenate([[0], ends])
    columns = [
        *named,
        chars,
        pa.array(np.diff(starts).astype(np.int32)),
        pa.array(hashes),
        *(pa.array(band) for band in np.ascontiguousarray(bands.T)),
        pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), pa.array(shingles)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def text_buffers(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The UTF-8 bytes of an Arrow string array and the n + 1 positions that cut them, without a copy of the bytes."""
    texts = texts.cast(pa.large_string())
    _, positions, data = texts.buffers()
    offsets = np.frombuffer(positions, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1].copy()
    return np.frombuffer(data, dtype=np.uint8) if data is not None else np.empty(0, np.uint8), offsets
