"""Signature shards: the format, the hash family against big-integer Python, the S-curve of the bands, bad input."""

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_quality.config import SignatureConfig
from data_quality.dedupe import signatures
from data_quality.dedupe.shingles import shingle_text
from data_quality.dedupe.signatures import band_values, hash_parameters, signature_shard
from tests.data_quality.dedupe_oracle import WORDS, read_rows, write_documents, write_signatures


def texts(count: int, seed: int = 0) -> list[tuple[str, str, str]]:
    rng = random.Random(seed)
    return [(f"d{i:03d}", "s", " ".join(rng.choices(WORDS, k=rng.randrange(60)))) for i in range(count)]


def test_columns(tmp_path: Path) -> None:
    documents = [("a", "x", "one two three four five six"), ("b", "y", ""), ("c", "x", "天地玄黃宇宙洪荒")]
    config = SignatureConfig(bands=3, rows=2)
    [path] = write_signatures(tmp_path, documents, config)
    rows = read_rows(path)
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert [row["source"] for row in rows] == ["x", "y", "x"]
    assert [row["chars"] for row in rows] == [27, 0, 8]
    assert [row["shingle_count"] for row in rows] == [2, 1, 4]
    for row, (_, _, text) in zip(rows, documents, strict=True):
        assert row["shingles"] == shingle_text(text).tolist() == sorted(set(row["shingles"]))
        assert [name for name in row if name[0] == "b"] == ["b0", "b1", "b2"]
    assert len({row["shingles_hash"] for row in rows}) == 3


def test_counts_and_progress(tmp_path: Path) -> None:
    source = write_documents(tmp_path / "in.parquet", [("a", "s", "天地"), ("b", "s", "one two three four five six")])
    seen: list[int] = []
    counts = signature_shard(source, tmp_path / "out.parquet", SignatureConfig(), seen.append)
    assert counts == {"documents": 2, "bytes": 6 + 27, "shingles": 3}
    assert sum(seen) == 2


def test_an_empty_shard_gives_an_empty_shard(tmp_path: Path) -> None:
    source = write_documents(tmp_path / "in.parquet", [])
    assert signature_shard(source, tmp_path / "out.parquet", SignatureConfig())["documents"] == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def test_bands_are_folds_of_multiply_shift_minima() -> None:
    """Strong multiply-shift in unbounded integers: a band value depends on its `rows` minima and nothing else."""
    config = SignatureConfig(bands=4, rows=3, seed=7)
    a, b = hash_parameters(config)
    minima: dict[tuple[int, ...], set[int]] = {}
    rng = random.Random(3)
    for _ in range(300):
        shingles = np.unique(np.array([rng.randrange(2**64) for _ in range(rng.randrange(1, 4))], dtype=np.uint64))
        bands, _ = band_values(shingles, np.array([len(shingles)]), config)
        for band in range(4):
            low = []
            for k in range(band * 3, band * 3 + 3):
                wrapped = [(int(a[k]) * (int(x) >> 32) + int(b[k])) % 2**64 for x in shingles]
                signed = [value - 2**64 if value >= 2**63 else value for value in wrapped]
                low.append((min(signed) % 2**64) >> 32)
            minima.setdefault(tuple(low), set()).add(int(bands[0, band]))
    assert all(len(values) == 1 for values in minima.values())
    assert len(set.union(*minima.values())) == len(minima)


def test_hash_parameters_are_fixed_by_the_seed() -> None:
    a, b = hash_parameters(SignatureConfig(seed=1))
    assert len(a) == len(b) == 112
    assert len({*a.tolist(), *b.tolist()}) == 224
    assert a[0] == np.uint64(0x910A2DEC89025CC1).astype(np.int64)  # SplitMix64 with state 1: the published first output
    assert not np.array_equal(a, hash_parameters(SignatureConfig(seed=2))[0])


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9])
def test_share_of_pairs_with_a_common_band_follows_the_s_curve(similarity: float) -> None:
    """1 - (1 - s^8)^14 within four standard deviations, over pairs of random sets of Jaccard s."""
    config = SignatureConfig()
    rng = np.random.default_rng(int(similarity * 100))
    pairs, union = 1_500, 200
    shared = round(similarity * union)
    hits = 0
    for _ in range(pairs):
        values = rng.integers(0, 2**64, size=union, dtype=np.uint64)
        own = (union - shared) // 2
        left, right = values[: shared + own], np.concatenate([values[:shared], values[shared + own :]])
        both = np.concatenate([np.sort(left), np.sort(right)])
        bands, _ = band_values(both, np.array([len(left), len(both)]), config)
        hits += bool((bands[0] == bands[1]).any())
    expected = 1 - (1 - (shared / union) ** 8) ** 14
    assert abs(hits / pairs - expected) <= 4 * (expected * (1 - expected) / pairs) ** 0.5 + 1e-9


def test_a_signature_does_not_depend_on_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = texts(60)
    [whole] = write_signatures(tmp_path / "whole", documents)
    dealt = write_signatures(tmp_path / "dealt", documents, shards=7)
    monkeypatch.setattr(signatures, "_BATCH_BYTES", 100)
    [small] = write_signatures(tmp_path / "small", documents)
    expected = {row["id"]: row for row in read_rows(whole)}
    assert {row["id"]: row for path in dealt for row in read_rows(path)} == expected
    assert read_rows(small) == list(expected.values())


def test_the_same_shard_gives_the_same_bytes(tmp_path: Path) -> None:
    [first] = write_signatures(tmp_path / "first", texts(40))
    [second] = write_signatures(tmp_path / "second", texts(40))
    assert first.read_bytes() == second.read_bytes()


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "text": ["x"], "text_hash": ["0"]}), tmp_path / "in.parquet")
    with pytest.raises(ValueError, match=r"in\.parquet: no column source; this is not a documents shard"):
        signature_shard(tmp_path / "in.parquet", tmp_path / "out.parquet", SignatureConfig())
    assert not (tmp_path / "out.parquet").exists()


def test_a_null_text_is_an_error_that_names_the_document(tmp_path: Path) -> None:
    columns = {"id": ["a", "b"], "source": ["s", "s"], "text": ["x", None], "text_hash": ["0", "1"]}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    with pytest.raises(ValueError, match=r"in\.parquet: document 'b' has no text"):
        signature_shard(tmp_path / "in.parquet", tmp_path / "out.parquet", SignatureConfig())
    assert not (tmp_path / "out.parquet").exists()
