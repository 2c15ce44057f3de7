"""The labelled paragraph set: masking, cutting, membership, and independence of shards and order."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from data_quality.config import LabelledConfig
from data_quality.labelled import (
    SPLITS,
    labelled_candidates,
    near_leak,
    paragraph_hash,
    paragraphs,
    select_labelled,
)
from data_quality.library_names import LibraryNames

CLASSES = [
    {"name": "torch", "aliases": ["pytorch"]},
    {"name": "scikit-learn", "aliases": ["sklearn", "sk"]},
    {"name": "numpy", "aliases": ["np"]},
    {"name": "rich"},
]
NAMES = ["torch", "pytorch", "scikit-learn", "sklearn", "sk", "numpy", "np", "rich", "hugging face"]


def _config(**values: Any) -> LabelledConfig:
    return LabelledConfig(**{"classes": CLASSES, "also_mask": ["hugging face"], **values})


def _survivors(text: str, mask: str = "[LIB]") -> list[str]:
    """Brute force: the names still to be read in a masked text."""
    rest = text.replace(mask, "\0").lower()
    words = set(re.findall("[a-z0-9]+", rest))
    return [
        name
        for name in NAMES
        for joined in {re.sub("[- ]", separator, name) for separator in ("", "-", "_", ".", " ", "\n")}
        if (joined in rest if len(re.sub("[- ]", "", name)) >= 5 else joined in words)
    ]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("import numpy as np", "import [LIB] as [LIB]"),
        ("see :class:`~torch.nn.Linear`.", "see :class:`~[LIB]`."),
        ("`sklearn.linear_model.Ridge` and SKLearn", "`[LIB]` and [LIB]"),
        ("with scikit-learn, scikit\nlearn or Scikit_Learn.base", "with [LIB], [LIB] or [LIB]"),
        ("https://numpy.org/doc/stable x/torch/y.py", "https://[LIB] [LIB]"),
        ("TorchDispatchMode, is_torch_available, np_array", "[LIB], [LIB], [LIB]"),
        ("使用numpy数组和np.array。", "使用[LIB]数组和[LIB]。"),
        ("at::numpy::x -- end. numpy.", "[LIB] -- end. [LIB]."),
        # what just is no name
        ("input, npx, enrich, task, tor.ch, risk", "input, npx, enrich, task, tor.ch, risk"),
        ("a.b.Ridge of foo/bar.py", "a.b.Ridge of foo/bar.py"),
    ],
)
def test_names_and_paths_are_masked(text: str, masked: str) -> None:
    names = LibraryNames(_config())
    assert names.mask(text) == masked
    assert names.mask(masked) == masked


def test_no_name_survives_in_any_surroundings() -> None:
    names, draw = LibraryNames(_config()), random.Random(0)
    pieces = [
        *NAMES,
        "a",
        "Linear",
        "数",
        "[LIB]",
        "~",
        ".",
        "/",
        "-",
        "_",
        " ",
        "\n",
        ":",
        "`",
        "'",
        "1",
        "é",
    ]
    for _ in range(5000):
        text = "".join(draw.choice((str.lower, str.upper, str.title))(draw.choice(pieces)) for _ in range(9))
        masked = names.mask(text)
        assert not _survivors(masked), (text, masked)
        assert names.mask(masked) == masked


def test_masking_long_text_takes_linear_time() -> None:
    """A hostile megabyte ends (a backtracking pattern would not within the test's time limit)."""
    names = LibraryNames(_config())
    for unit in ("a.", "a-", "_", "scikit-", "np.", "~"):
        names.mask("numpy " + unit * (10**6 // len(unit)) + "!")


def test_paragraphs_are_joined_cut_and_left_out() -> None:
    assert list(paragraphs("aaa\n\nbbb\n \t\n\nccc", 8, 20)) == ["aaa\n\nbbb"]
    assert list(paragraphs("aaaa bbbb\n\ncccc dddd", 8, 20)) == ["aaaa bbbb", "cccc dddd"]
    assert list(paragraphs("one two three four five six", 3, 10)) == ["one two", "three four", "five six"]
    assert list(paragraphs("字" * 25, 5, 10)) == ["字" * 10, "字" * 10, "字" * 5]
    assert list(paragraphs("see " + "x" * 30 + " two three four", 8, 10)) == ["two three"]
    assert list(paragraphs("ab,cd,efghnp", 3, 9)) == ["ab,cd,", "efghnp"]
    assert list(paragraphs("short", 8, 20)) == []
    assert list(paragraphs("exactly8", 8, 8)) == ["exactly8"]
    assert list(paragraphs("", 1, 9)) == []


def test_cutting_a_masked_text_uncovers_no_name() -> None:
    names, draw = LibraryNames(_config()), random.Random(5)
    for _ in range(2000):
        text = "".join(draw.choice([*NAMES, "in", "put", "数", "_", " ", ".", "-"]) for _ in range(20))
        for paragraph in paragraphs(names.mask(text), 2, draw.randint(5, 20)):
            assert not _survivors(paragraph.replace("[LIB]", " ")), (text, paragraph)


@pytest.mark.parametrize("seed", range(20))
def test_paragraph_lengths_and_order_hold_for_any_text(seed: int) -> None:
    draw = random.Random(seed)
    text = "".join(draw.choice(["word", " ", "\n", "\n\n", "x" * 30, "文"]) for _ in range(200))
    cut = list(paragraphs(text, 20, 60))
    assert all(20 <= len(p) <= 60 for p in cut)
    squeezed = "".join(text.split())
    position = 0
    for paragraph in cut:
        position = squeezed.index("".join(paragraph.split()), position) + len("".join(paragraph.split()))


WORDS = [f"word{i}" for i in range(400)]


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def _corpus(seed: int = 0) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    draw = random.Random(seed)
    sources = [c["name"] for c in CLASSES] + ["other"]
    documents, splits = [], []
    for number in range(120):
        source = sources[number % len(sources)]
        text = "\n\n".join(" ".join(draw.choice([*WORDS, *NAMES, "torch.nn.x"]) for _ in range(30)) for _ in range(6))
        documents.append({"id": f"d{number}", "text": text, "source": source})
        splits.append({"id": f"d{number}", "split": ("train", "train", "valid", "test")[number // 5 % 4]})
    return documents, splits


def _build(directory: Path, documents: list[dict[str, str]], splits: list[dict[str, str]], **values: Any):
    shards = values.pop("shards", 1)
    directory.mkdir()
    files = [
        _write(
            directory / f"in{i}.parquet",
            documents[i * len(documents) // shards : (i + 1) * len(documents) // shards],
        )
        for i in range(shards)
    ]
    table = _write(directory / "split.parquet", splits)
    config = _config(**{"per_class": 20, "per_class_eval": 5, **values})
    candidates = [file.with_name(f"candidates-{file.name}") for file in files]
    for file, found in zip(files, candidates, strict=True):
        labelled_candidates(file, found, config)
    counts = select_labelled(candidates, table, directory / "out", config, directory / "spill")
    return counts, {split: pq.read_table(directory / "out" / f"{split}.parquet").to_pylist() for split in SPLITS}


def test_the_set_keeps_its_promises(tmp_path: Path) -> None:
    documents, splits = _corpus()
    counts, sets = _build(tmp_path / "a", documents, splits)
    source = {d["id"]: d["source"] for d in documents}
    split_of = {s["id"]: s["split"] for s in splits}
    labels = [c["name"] for c in CLASSES]
    assert json.loads(json.dumps(counts)) == counts
    for split, rows in sets.items():
        limit = 20 if split == "train" else 5
        assert [sum(r["label"] == i for r in rows) for i in range(4)] == [limit] * 4
        assert counts[f"{split}_classes"] == dict.fromkeys(labels, limit)
        for row in rows:
            assert row["label_name"] == labels[row["label"]] == source[row["document"]]
            assert split_of[row["document"]] == split
            assert 150 <= len(row["text"]) <= 800
            assert not _survivors(row["text"])
    hashes = {split: {paragraph_hash(r["text"]) for r in rows} for split, rows in sets.items()}
    assert not hashes["train"] & (hashes["valid"] | hashes["test"])
    assert sorted(p.name for p in (tmp_path / "a/out").iterdir()) == [
        "test.parquet",
        "train.parquet",
        "valid.parquet",
    ]


def test_shards_and_order_change_no_byte(tmp_path: Path) -> None:
    documents, splits = _corpus()
    _build(tmp_path / "a", documents, splits)
    shuffled = random.Random(1).sample(documents, len(documents))
    _build(tmp_path / "b", shuffled, splits[::-1], shards=7)
    for split in SPLITS:
        name = f"out/{split}.parquet"
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def _small(texts: dict[str, str], extra: list[tuple[str, str, str, str]]):
    """One document for each class and split, then (id, source, split, text) on top."""
    rows = [
        (f"{c['name']}-{s}", c["name"], s, f"{s} {i} unique " + " ".join(WORDS[40 * i : 40 * i + 30]))
        for i, c in enumerate(CLASSES)
        for s in SPLITS
    ] + extra
    documents = [{"id": i, "text": text, "source": source} for i, source, _, text in rows]
    return documents, [{"id": i, "split": split} for i, _, split, _ in rows if split]


PLAIN = "An array of " + " ".join(WORDS[300:340])


def _ids(rows: list[dict[str, Any]]) -> set[str]:
    return {r["document"] for r in rows}


def test_equal_paragraphs_stay_once_and_test_wins(tmp_path: Path) -> None:
    extra = [
        ("x-train", "numpy", "train", PLAIN),
        ("x-valid", "numpy", "valid", PLAIN.replace(" ", "  ")),
        ("x-test", "numpy", "test", PLAIN.upper()),
        ("y-train", "rich", "train", "Use np. " + PLAIN),
        ("z-train", "rich", "train", "Use rich. " + PLAIN),
    ]
    counts, sets = _build(tmp_path / "a", *_small({}, extra))
    assert "x-test" in _ids(sets["test"])
    assert not {"x-valid", "x-train"} & (_ids(sets["train"]) | _ids(sets["valid"]))
    # equal only after masking; the first document id stays
    assert "y-train" in _ids(sets["train"])
    assert "z-train" not in _ids(sets["train"])
    assert (counts["duplicates"], counts["conflicting"]) == (3, 0)


def test_paragraphs_under_two_labels_are_dropped(tmp_path: Path) -> None:
    extra = [("x", "numpy", "train", PLAIN), ("y", "rich", "test", PLAIN), ("z", "rich", "train", PLAIN)]
    counts, sets = _build(tmp_path / "a", *_small({}, extra))
    assert not {"x", "y", "z"} & set().union(*(_ids(rows) for rows in sets.values()))
    assert (counts["duplicates"], counts["conflicting"]) == (0, 3)


def test_documents_outside_the_splits_give_nothing(tmp_path: Path) -> None:
    extra = [("x", "numpy", "", PLAIN), ("y", "rich", "twin-of-test", PLAIN)]
    counts, sets = _build(tmp_path / "a", *_small({}, extra))
    assert counts["outside_splits"] == 2
    assert not {"x", "y"} & set().union(*(_ids(rows) for rows in sets.values()))


def test_candidates_are_the_same_file_when_made_again(tmp_path: Path) -> None:
    shard = _write(tmp_path / "in.parquet", _corpus()[0])
    first = labelled_candidates(shard, tmp_path / "a.parquet", _config())
    assert first == labelled_candidates(shard, tmp_path / "b.parquet", _config())
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert first["documents"] == 96


def test_near_leak_equals_brute_force() -> None:
    draw = random.Random(3)
    train = [" ".join(draw.choices(WORDS, k=draw.randint(2, 25))) for _ in range(40)]
    held = [" ".join(t.split()[: draw.randint(1, 25)]) for t in train] + ["数 据"]

    def grams(text: str) -> set[str]:
        words = text.split()
        return {" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))}

    near = [any(len(grams(h) & grams(t)) / len(grams(h) | grams(t)) >= 0.5 for t in train) for h in held]
    assert 0 < sum(near) < len(held)
    assert near_leak(train, held) == sum(near) / len(held)
    assert near_leak(train, []) == 0
    assert near_leak(["一二三四五六七"], ["一二三四五六"]) == 1


def test_a_class_without_training_paragraph_is_named(tmp_path: Path) -> None:
    documents, splits = _small({}, [])
    without = [d for d in documents if d["id"] != "rich-train"]
    with pytest.raises(ValueError, match="no training paragraph for the classes rich"):
        _build(tmp_path / "a", without, splits)
    no_test = [s for s in splits if s["split"] != "test"]
    with pytest.raises(ValueError, match="no test paragraph at all"):
        _build(tmp_path / "b", documents, no_test)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"classes": [{"name": "rich"}]}, "at least 2"),
        ({"classes": [{"name": "rich"}, {"name": "rich"}]}, "classes named twice: rich"),
        ({"min_chars": 900}, "min_chars 900 is above max_chars 800"),
        ({"per_clas": 3}, "Extra inputs"),
    ],
)
def test_bad_configs_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _config(**values)


def test_unusable_masks_and_names_are_refused() -> None:
    with pytest.raises(ValueError, match="contains a name that it should hide"):
        LibraryNames(_config(mask="[numpy]"))
    with pytest.raises(ValueError, match="has no letters"):
        LibraryNames(_config(also_mask=["--"]))
