"""How far training documents moved: against a count by hand, and by the naive formula on random corpora."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_quality.changes import changed_share
from data_quality.hashing import text_hash

Corpus = dict[str, tuple[str, str]]
"""id -> text, split."""


def write(root: Path, corpus: Corpus, shards: int = 2) -> tuple[list[Path], Path, int]:
    root.mkdir(parents=True)
    paths = []
    for number in range(shards):
        rows = [(id, text) for at, (id, (text, _)) in enumerate(sorted(corpus.items())) if at % shards == number]
        columns = {"id": [id for id, _ in rows], "text": [text for _, text in rows]}
        columns["text_hash"] = [text_hash(text) for _, text in rows]
        paths.append(root / f"{number}.parquet")
        pq.write_table(pa.table(columns, pa.schema([(name, pa.string()) for name in columns])), paths[-1])
    split = root / "split.parquet"
    pq.write_table(pa.table({"id": list(corpus), "split": [where for _, where in corpus.values()]}), split)
    return paths, split, sum(len(text.encode()) for text, where in corpus.values() if where == "train")


def share(tmp_path: Path, before: Corpus, after: Corpus) -> dict[str, object]:
    (tmp_path / "scratch").mkdir()
    old, new = write(tmp_path / "before", before), write(tmp_path / "after", after, shards=3)
    return changed_share(old, new[:2], scratch=tmp_path / "scratch", memory_limit="200MB", threads=1)


def test_each_kind_of_change_is_counted_once(tmp_path: Path) -> None:
    before = {"a": ("same é", "train"), "b": ("old text", "train"), "c": ("leaves", "train"), "t": ("test", "test")}
    after = {"a": ("same é", "train"), "b": ("a newer text", "train"), "d": ("comes in", "train"), "t": ("x", "test")}
    found = share(tmp_path, before, after)
    assert found["same"] == {"documents": 1}
    assert found["changed"] == {"documents": 1, "bytes": 12}
    assert found["gone"] == {"documents": 1, "bytes": 6}
    assert found["new"] == {"documents": 1, "bytes": 8}
    assert found["bytes_before"] == 7 + 8 + 6
    assert found["share"] == pytest.approx(26 / 21)


def test_a_document_that_the_split_moved_out_of_training_is_gone(tmp_path: Path) -> None:
    before = {"a": ("one", "train"), "b": ("three", "train")}
    found = share(tmp_path, before, {**before, "b": ("three", "excluded")})
    assert (found["gone"], found["share"]) == ({"documents": 1, "bytes": 5}, 5 / 8)


@pytest.mark.parametrize("seed", range(3))
def test_as_counted_naively(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)

    def corpus() -> Corpus:
        ids = draw.sample(range(60), 40)
        return {f"d{n}": ("x" * draw.randint(1, 3) + "é" * n, draw.choice(["train", "train", "test"])) for n in ids}

    before, after = corpus(), corpus()
    old, new = ({id: text for id, (text, where) in side.items() if where == "train"} for side in (before, after))
    moved = sum(len(text.encode()) for id, text in new.items() if old.get(id) != text)
    moved += sum(len(text.encode()) for id, text in old.items() if id not in new)
    found = share(tmp_path, before, after)
    assert found["share"] == moved / sum(len(text.encode()) for text in old.values())
    assert found["same"] == {"documents": sum(old.get(id) == text for id, text in new.items())}


def test_nothing_to_compare_with_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no training documents"):
        share(tmp_path, {"a": ("x", "test")}, {"a": ("x", "train")})
