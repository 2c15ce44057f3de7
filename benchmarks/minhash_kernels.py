"""Which MinHash kernel: `python benchmarks/minhash_kernels.py [--megabytes 20] [--rounds 5]`; needs rensa 0.5.0.

The same shingle hashes of the same documents (English corpus of TEXTMILL_DATA) go into our numba kernel (multiply-shift
on 32-bit keys, folded to bands) and into rensa's RMinHash, RMinHash with its rho sketch, and CMinHash: 112 hashes each,
one thread, in turn. Printed: MB of text a second of signing alone (rensa's matrix as it is, and as rows that can be cut
into bands) and of shingling; and on generated pairs of known Jaccard the share that has one of 14 bands in common,
beside the S-curve.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import rensa
from dedupe_near import corpus_shards  # the folder of this script is on the path

from data_quality.config import SignatureConfig
from data_quality.dedupe.shingles import shingle_texts
from data_quality.dedupe.signatures import band_values, text_buffers

CONFIG = SignatureConfig()
HASHES = CONFIG.bands * CONFIG.rows
UInt64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]
Signer = Callable[[UInt64s, Int64s], Any]


def numba_bands(shingles: UInt64s, ends: Int64s) -> UInt64s:
    """Ours."""
    return band_values(shingles, ends, CONFIG)[0]


def r_matrix(shingles: UInt64s, ends: Int64s) -> Any:
    """rensa's RMinHash, left as its own matrix."""
    return rensa.RMinHash.digest_matrix_from_flat_token_hashes(shingles, np.append(0, ends), HASHES, CONFIG.seed)


def rho_matrix(shingles: UInt64s, ends: Int64s) -> Any:
    """rensa's RMinHash with its sparse sketch."""
    return rensa.RMinHash.digest_matrix_from_flat_token_hashes_rho(shingles, np.append(0, ends), HASHES, CONFIG.seed)


def r_rows(shingles: UInt64s, ends: Int64s) -> UInt64s:
    """rensa's RMinHash as bands."""
    return folded(r_matrix(shingles, ends).to_rows())


def rho_rows(shingles: UInt64s, ends: Int64s) -> UInt64s:
    """rensa's RMinHash with its sparse sketch, as bands."""
    return folded(rho_matrix(shingles, ends).to_rows())


def c_rows(shingles: UInt64s, ends: Int64s) -> UInt64s:
    """rensa's CMinHash as bands."""
    sets = np.split(shingles, ends[:-1])
    return folded(rensa.CMinHash.digests64_from_token_hash_sets(sets, HASHES, CONFIG.seed))


def folded(rows: Any) -> UInt64s:
    """Rows of minima as band values."""
    cut = np.array(rows, dtype=np.uint64).reshape(-1, CONFIG.bands, CONFIG.rows)
    values = np.zeros(cut.shape[:2], dtype=np.uint64)
    for row in range(CONFIG.rows):
        values = (values ^ cut[:, :, row]) * np.uint64(0x9E3779B97F4A7C15)
        values ^= values >> np.uint64(29)
    return values


SIGNERS: dict[str, Signer] = {
    "numba": numba_bands,
    "rensa R matrix": r_matrix,
    "rensa R rows": r_rows,
    "rensa rho matrix": rho_matrix,
    "rensa rho rows": rho_rows,
    "rensa C rows": c_rows,
}


def documents(megabytes: float) -> pa.Array:
    """The first texts of the English corpus."""
    with tempfile.TemporaryDirectory() as name:
        texts = pa.concat_arrays(
            [chunk for path in corpus_shards(Path(name)) for chunk in pq.read_table(path)["text"].chunks]
        )
    sizes = np.cumsum(pc.binary_length(texts).to_numpy())
    return texts[: int(np.searchsorted(sizes, megabytes * 1e6))]


def shared_share(signer: Signer, similarity: float, pairs: int = 4000, union: int = 200) -> float:
    """Share of random pairs of sets of this Jaccard similarity that have a band in common."""
    rng = np.random.default_rng(7)
    values = rng.integers(0, 2**64, size=(pairs, union), dtype=np.uint64)
    shared = round(similarity * union)
    own = (union - shared) // 2
    left, right = values[:, : shared + own], np.hstack([values[:, :shared], values[:, shared + own :]])
    both = [np.sort(one) for pair in zip(left, right, strict=True) for one in pair]
    bands = signer(np.concatenate(both), np.cumsum([len(one) for one in both]))
    return float((bands[0::2] == bands[1::2]).any(axis=1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    data, offsets = text_buffers(documents(options.megabytes))
    megabytes = (offsets[-1] - offsets[0]) / 1e6
    seconds: dict[str, list[float]] = {name: [] for name in ("shingles", *SIGNERS)}
    shingles, ends = shingle_texts(data, offsets)
    numba_bands(shingles[: ends[0]], ends[:1])
    for _ in range(options.rounds):
        start = time.perf_counter()
        shingle_texts(data, offsets)
        seconds["shingles"].append(time.perf_counter() - start)
        for name, signer in SIGNERS.items():
            start = time.perf_counter()
            signer(shingles, ends)
            seconds[name].append(time.perf_counter() - start)
    print(json.dumps({"megabytes": megabytes, "documents": len(ends), "shingles": len(shingles)}))
    for name, times in seconds.items():
        print(json.dumps({"step": name, "mb_per_second": round(megabytes / statistics.median(times), 1)}))
    for similarity in (0.6, 0.7, 0.8, 0.9):
        found = {name: shared_share(s, similarity) for name, s in SIGNERS.items() if "matrix" not in name}
        expected = 1 - (1 - similarity**CONFIG.rows) ** CONFIG.bands
        print(json.dumps({"jaccard": similarity, "s_curve": round(expected, 4), **found}))


if __name__ == "__main__":
    main()
