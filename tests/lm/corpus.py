"""A tiny corpus for tests."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.hashing import text_hash

ASCII = ["the", "a", "model", "learns", "data", "text", "loss", "step", "of", "to", "and", "in", "byte"]
WORDS = [*ASCII, "café", "模型", "学习", "数据", "—", "λ", "😀", "é"]


def make_documents(count: int, seed: int = 0) -> dict[str, str]:
    """{id: text} with a little structure to learn, several scripts and lengths from empty to long."""
    draw = random.Random(seed)
    texts = {}
    for n in range(count):
        words = [draw.choice(WORDS) if i % 3 else "the" for i in range(draw.choice([0, 1, 7, 40, 150]))]
        texts[f"doc-{n:04d}"] = " ".join(words) + ("\n" if n % 2 else "")
    return texts


def write_documents(path: Path, texts: dict[str, str]) -> Path:
    """A documents shard with the columns that tokenizing reads, and the hash of the text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hashes = [text_hash(text) for text in texts.values()]
    table = pa.table(
        {"id": list(texts), "text": list(texts.values()), "source": ["test"] * len(texts), "text_hash": hashes}
    )
    pq.write_table(table, path, row_group_size=50)
    return path
