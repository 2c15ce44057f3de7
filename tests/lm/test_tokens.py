"""Token shards, their index, and the sequences cut from them."""

import hashlib
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lm.packing import PackedSequences
from lm.stop import Interrupted
from lm.tokenizer import encode_documents, end_of_text_id, load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig
from lm.tokens import TokenIndex, build_index, token_dtype, tokenize_shard, tokenizer_sha256
from tests.lm.corpus import write_documents


def stream(documents: dict[str, str], tokenizer_dir: Path) -> np.ndarray:
    """The packed stream, written the obvious way."""
    tokenizer = load_tokenizer(tokenizer_dir)
    end = end_of_text_id(tokenizer)
    tokens = [end]
    for key in sorted(documents, key=lambda i: tuple(_words(i))):
        tokens += [*encode_documents(tokenizer, [documents[key]])[0].tolist(), end]
    return np.array(tokens)


def _words(key: str) -> np.ndarray:
    return np.frombuffer(hashlib.blake2b(key.encode(), digest_size=16).digest(), dtype="<u8")


def test_a_shard_says_what_it_holds(tmp_path: Path, documents: dict[str, str], tokenizer_dir: Path) -> None:
    source = write_documents(tmp_path / "d.parquet", documents)
    seen: list[int] = []
    counts = tokenize_shard(source, tmp_path / "t/00000", tokenizer_dir, progress=seen.append)
    header = json.loads((tmp_path / "t/00000.json").read_text())
    table = pq.read_table(tmp_path / "t/00000.parquet")
    tokens = np.fromfile(tmp_path / "t/00000.bin", dtype="<u2")
    assert counts == {k: header[k] for k in ("documents", "tokens", "bytes")}
    assert sum(seen) == counts["documents"] == len(documents) == table.num_rows
    assert counts["tokens"] == len(tokens) == pc.sum(table["tokens"]).as_py()
    assert counts["bytes"] == sum(len(t.encode()) for t in documents.values())
    assert header["tokenizer_sha256"] == tokenizer_sha256(tokenizer_dir)
    tokenizer = load_tokenizer(tokenizer_dir)
    for row in table.to_pylist():
        mine = tokens[row["start"] : row["start"] + row["tokens"]]
        assert tokenizer.decode(mine.tolist()) == documents[row["id"]]
        assert row["bytes"] == len(documents[row["id"]].encode())
    assert not list((tmp_path / "t").glob("*.tmp"))


def test_token_width_follows_the_vocabulary() -> None:
    assert token_dtype(65_536) == np.dtype("<u2")
    assert token_dtype(65_537) == np.dtype("<u4")


@pytest.mark.parametrize("context", [1, 5, 32, 100])
def test_sequences_equal_the_obvious_stream(
    shards: list[Path], documents: dict[str, str], tokenizer_dir: Path, context: int
) -> None:
    expected = stream(documents, tokenizer_dir)
    sequences = PackedSequences(build_index(shards), context)
    assert len(sequences) == (len(expected) - 1) // context
    for i in {0, 1, len(sequences) // 2, len(sequences) - 1} & set(range(len(sequences))):
        assert np.array_equal(sequences.sequence(i), expected[i * context : (i + 1) * context + 1])
    everything = sequences.batch(np.arange(len(sequences)))["tokens"][:, 1:].flatten().numpy()
    assert np.array_equal(everything, expected[1 : len(everything) + 1])


def test_neither_file_order_nor_shard_cuts_show(
    tmp_path: Path, shards: list[Path], documents: dict[str, str], tokenizer_dir: Path
) -> None:
    source = write_documents(tmp_path / "one.parquet", dict(reversed(documents.items())))
    tokenize_shard(source, tmp_path / "one", tokenizer_dir)
    packed = [PackedSequences(build_index(s), 16) for s in (shards, shards[::-1], [tmp_path / "one"])]
    assert len({p.fingerprint for p in packed}) == 1
    rows = [p.batch(np.arange(len(p)))["tokens"] for p in packed]
    assert (rows[0] == rows[1]).all()
    assert (rows[0] == rows[2]).all()


def test_the_fingerprint_follows_the_text(tmp_path: Path, documents: dict[str, str], tokenizer_dir: Path) -> None:
    seen = set()
    for n, key in enumerate([None, "doc-0002", "doc-0003"]):
        changed = {k: t + " the" if k == key else t for k, t in documents.items()}
        tokenize_shard(write_documents(tmp_path / f"{n}.parquet", changed), tmp_path / f"{n}", tokenizer_dir)
        seen.add(build_index([tmp_path / f"{n}"]).fingerprint)
    assert len(seen) == 3


def test_a_document_is_read_as_often_as_it_is_told(shards: list[Path], documents: dict[str, str]) -> None:
    ids = sorted(documents)
    times = {id: number % 4 for number, id in enumerate(ids)}
    index = build_index(shards, copies=lambda found: np.array([times[id] for id in found.to_pylist()]))
    once = build_index(shards, copies=lambda found: np.array([times[id] > 0 for id in found.to_pylist()]))
    assert len(index) == sum(times.values())
    assert index.tokens > once.tokens

    def places_of(found: TokenIndex) -> list[tuple[int, ...]]:
        return list(zip(found.shard.tolist(), found.start.tolist(), found.length.tolist(), strict=True))

    places = places_of(index)
    counted = Counter(places)
    assert sorted(counted.values()) == sorted(count for count in times.values() if count)
    in_order = [place for place in places if counted[place] == 1]
    assert in_order == [place for place in places_of(once) if counted[place] == 1]
    followed = sum(first == second for first, second in pairwise(places))
    assert followed < len(places) // 4  # copies stand at places of their own
    reversed_shards = build_index(shards[::-1], copies=lambda found: np.array([times[id] for id in found.to_pylist()]))
    assert reversed_shards.fingerprint == index.fingerprint != once.fingerprint


def test_only_kept_documents_are_indexed(shards: list[Path], documents: dict[str, str], tokenizer_dir: Path) -> None:
    kept = set(list(documents)[::3])
    index = build_index(shards, copies=lambda ids: np.isin(ids.to_numpy(zero_copy_only=False), list(kept)))
    assert len(index) == len(kept)
    expected = stream({k: documents[k] for k in kept}, tokenizer_dir)
    packed = PackedSequences(index, 8)
    assert np.array_equal(packed.sequence(3), expected[24:33])
    assert np.array_equal(index.token_counts(), np.bincount(expected[1:], minlength=index.vocab))
    assert index.tokens == len(expected) - 1 - len(kept)


def test_bad_shards_are_refused(tmp_path: Path, shards: list[Path], documents: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="no token shards"):
        build_index([])
    train_tokenizer(["other text"] * 3, ByteBPEConfig(), tmp_path / "other")
    tokenize_shard(write_documents(tmp_path / "o.parquet", documents), tmp_path / "o", tmp_path / "other")
    with pytest.raises(ValueError, match="made by another tokenizer"):
        build_index([*shards, tmp_path / "o"])
    with (tmp_path / "o.bin").open("ab") as file:
        file.write(b"xx")
    with pytest.raises(ValueError, match=r"o\.bin: \d+ bytes do not hold"):
        build_index([tmp_path / "o"])
    (tmp_path / "o.json").unlink()
    with pytest.raises(ValueError, match="incomplete: tokenize it again"):
        build_index([tmp_path / "o"])


def test_too_little_text_is_said(shards: list[Path]) -> None:
    index = build_index(shards, copies=lambda ids: np.arange(len(ids)) < 1)
    with pytest.raises(ValueError, match="do not fill one sequence of 10000"):
        PackedSequences(index, 10_000)
    with pytest.raises(IndexError, match="sequence 99999 of"):
        PackedSequences(build_index(shards), 8).sequence(99_999)


def test_stopping_publishes_nothing(tmp_path: Path, tokenizer_dir: Path) -> None:
    source = write_documents(tmp_path / "d.parquet", {"a": "text"})
    with pytest.raises(Interrupted, match=r"tokenizing d\.parquet"):
        tokenize_shard(source, tmp_path / "t/0", tokenizer_dir, should_stop=lambda: True)
    assert not (tmp_path / "t/0.json").exists()


def test_an_empty_shard_is_a_shard(tmp_path: Path, shards: list[Path], tokenizer_dir: Path) -> None:
    empty = pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())})
    pq.write_table(empty, tmp_path / "e.parquet")
    assert tokenize_shard(tmp_path / "e.parquet", tmp_path / "e", tokenizer_dir)["tokens"] == 0
    assert build_index([*shards, tmp_path / "e"]).fingerprint == build_index(shards).fingerprint
