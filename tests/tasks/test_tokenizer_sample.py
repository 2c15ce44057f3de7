"""Which documents a tokenizer learns from: those whose ids hash first, as many as fill the sample."""

import hashlib
import random
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.tokenizer import sample_texts


@pytest.mark.parametrize("least", [1, 700, 4000, 10**9])
def test_the_sample_is_the_first_texts_by_hash_until_it_is_full(tmp_path: Path, least: int) -> None:
    draw = random.Random(least)
    texts = {f"d/{n}": "é" * draw.randint(1, 60) + str(n) for n in range(200)}
    train = {name for name in texts if draw.random() < 0.7}
    for shard in range(3):
        names = [name for n, name in enumerate(texts) if n % 3 == shard]
        pq.write_table(pa.table({"id": names, "text": [texts[n] for n in names]}), tmp_path / f"{shard}.parquet")
    labels = ["train" if name in train else "test" for name in texts]
    pq.write_table(pa.table({"id": list(texts), "split": labels}), tmp_path / "split.parquet")

    expected: list[str] = []
    for name in sorted(train, key=lambda name: (hashlib.md5(name.encode()).hexdigest(), name)):
        if sum(len(text.encode()) for text in expected) >= least:
            break
        expected.append(texts[name])
    paths = [str(tmp_path / f"{shard}.parquet") for shard in range(3)]
    assert list(sample_texts(duckdb.connect(), paths, str(tmp_path / "split.parquet"), least)) == expected
