"""The split: membership by id alone, near-twins of test (dropped ones included) and of valid kept out of training."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_quality.config import DedupeConfig, KeepConfig, SplitConfig
from data_quality.dedupe.minhash import near_dedupe
from data_quality.split import split_documents, split_of
from tests.data_quality.dedupe_oracle import WORDS, Document, read_rows, true_jaccard, write_signatures

CONFIG = SplitConfig(test_fraction=0.2, valid_fraction=0.2)


def id_in(split: str, number: int, config: SplitConfig = CONFIG) -> str:
    """The `number`-th id of the form x0, x1, ... that falls into `split`."""
    return [name for name in (f"x{i}" for i in range(2_000)) if split_of(name, config) == split][number]


def text(seed: int, words: int = 200) -> list[str]:
    rng = random.Random(seed)
    return [rng.choice(WORDS) + rng.choice("abcdefgh") for _ in range(words)]


def split(
    tmp_path: Path,
    documents: list[Document],
    dropped: tuple[str, ...] = (),
    config: SplitConfig = CONFIG,
    *,
    shards: int = 1,
    threads: int = 1,
    duplicate_paths: tuple[Path, ...] = (),
) -> tuple[dict[str, dict[str, object]], dict[str, int]]:
    paths = write_signatures(tmp_path / "signatures", documents, shards=shards)
    kept = tmp_path / "kept.parquet"
    ids = [id_ for id_, _, _ in documents]
    pq.write_table(pa.table({"id": pa.array([id_ for id_ in ids if id_ not in dropped], pa.string())}), kept)
    out = tmp_path / "split.parquet"
    counts = split_documents(
        [kept],
        paths,
        out,
        config,
        temp_directory=tmp_path,
        threads=threads,
        duplicate_paths=duplicate_paths,
    )
    rows = read_rows(out)
    assert [row["id"] for row in rows] == sorted(id_ for id_ in ids if id_ not in dropped)
    return {row["id"]: row for row in rows}, counts


def twins(first: str, second: str, edits: int = 2) -> list[Document]:
    words = text(1)
    changed = list(words)
    for place in range(edits):
        changed[20 + 40 * place] = "changed"
    return [(first, "s", " ".join(words)), (second, "s", " ".join(changed))]


def test_shares_are_those_of_the_config() -> None:
    counts = {"train": 0, "valid": 0, "test": 0}
    config = SplitConfig(test_fraction=0.1, valid_fraction=0.05)
    for i in range(20_000):
        counts[split_of(f"source/{i}", config)] += 1
    assert abs(counts["test"] / 20_000 - 0.1) < 0.01
    assert abs(counts["valid"] / 20_000 - 0.05) < 0.01


@given(st.text(st.characters(exclude_categories=("Cs",))), st.floats(0, 0.4), st.floats(0, 0.1), st.floats(0, 0.4))
def test_raising_a_fraction_takes_from_train_only(id_: str, test: float, more: float, valid: float) -> None:
    before = split_of(id_, SplitConfig(test_fraction=test, valid_fraction=valid))
    after = split_of(id_, SplitConfig(test_fraction=test + more, valid_fraction=valid))
    assert after == before or (before, after) == ("train", "test")


def test_membership_is_permanent() -> None:
    assert [split_of(f"doc/{i}", CONFIG) for i in range(12)] == PERMANENT
    other = SplitConfig(test_fraction=0.2, valid_fraction=0.2, salt="other")
    assert [split_of(f"doc/{i}", other) for i in range(12)] != PERMANENT


PERMANENT = ["train", "train", "train", "train", "train", "train", "valid", "train", "train", "test", "train", "train"]


def test_unrelated_documents_go_where_their_ids_say(tmp_path: Path) -> None:
    documents = [(f"d{i:03d}", "s", " ".join(text(i, 30))) for i in range(120)]
    rows, counts = split(tmp_path, documents, dropped=("d000", "d001"))
    assert {id_: row["split"] for id_, row in rows.items()} == {
        f"d{i:03d}": split_of(f"d{i:03d}", CONFIG) for i in range(2, 120)
    }
    assert all(row["reason"] is row["twin"] is row["jaccard"] is None for row in rows.values())
    assert counts["train"] + counts["valid"] + counts["test"] == 118


@pytest.mark.parametrize(
    ("pinned", "ours", "reason"),
    [
        ("test", "train", "near_twin_of_test"),
        ("test", "valid", "near_twin_of_test"),
        ("valid", "train", "near_twin_of_valid"),
    ],
)
@pytest.mark.parametrize("pinned_is_dropped", [False, True])
@pytest.mark.parametrize("edits", [0, 2])
def test_a_near_twin_is_kept_out(
    tmp_path: Path, pinned: str, ours: str, reason: str, pinned_is_dropped: bool, edits: int
) -> None:
    theirs, mine = id_in(pinned, 0), id_in(ours, 0)
    documents = twins(theirs, mine, edits)
    rows, counts = split(tmp_path, documents, dropped=(theirs,) if pinned_is_dropped else ())
    similarity = true_jaccard(documents[0][2], documents[1][2])
    assert rows[mine] == {"id": mine, "split": "excluded", "reason": reason, "twin": theirs, "jaccard": similarity}
    if not pinned_is_dropped:
        assert rows[theirs]["split"] == pinned
    assert counts[reason] == 1


def test_a_pair_below_the_threshold_stays_on_both_sides(tmp_path: Path) -> None:
    documents = twins(id_in("test", 0), id_in("train", 0), edits=2)
    similarity = true_jaccard(documents[0][2], documents[1][2])
    for threshold, expected in ((similarity, "excluded"), (similarity + 1e-9, "train")):
        config = SplitConfig(test_fraction=0.2, valid_fraction=0.2, threshold=threshold)
        rows, _ = split(tmp_path / str(threshold), documents, config=config)
        assert rows[id_in("train", 0)]["split"] == expected


def test_twins_within_one_split_stay(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        rows, _ = split(tmp_path / name, twins(id_in(name, 0), id_in(name, 1)))
        assert {row["split"] for row in rows.values()} == {name}


def test_every_kept_copy_of_a_test_document_is_kept_out(tmp_path: Path) -> None:
    """Equal documents collapse for comparison; the fate of the first must reach them all."""
    test, trains = id_in("test", 0), [id_in("train", i) for i in range(4)]
    near, far = twins("a", "b")[1][2], " ".join(text(9))
    documents = [
        (test, "s", twins("a", "b")[0][2]),
        *((id_, "s", near) for id_ in trains),
        (id_in("train", 9), "s", far),
    ]
    rows, counts = split(tmp_path, documents)
    assert {rows[id_]["split"] for id_ in trains} == {"excluded"}
    assert rows[id_in("train", 9)]["split"] == "train"
    assert counts["near_twin_of_test"] == 4


def test_the_pairs_of_dedupe_count_too(tmp_path: Path) -> None:
    """A pair that the comparison here would miss, were its bound reached, is known from dedupe's table."""
    test, train = id_in("test", 0), id_in("train", 0)
    documents = [(test, "s", " ".join(text(1))), (train, "s", " ".join(text(2)))]
    table = {"dropped": [test], "kept": [train], "kind": ["near"], "jaccard": [0.9], "family_size": [2]}
    pq.write_table(pa.table(table), tmp_path / "duplicates.parquet")
    rows, _ = split(tmp_path, documents, dropped=(test,), duplicate_paths=(tmp_path / "duplicates.parquet",))
    assert (rows[train]["split"], rows[train]["twin"], rows[train]["jaccard"]) == ("excluded", test, 0.9)


def corpus() -> list[Document]:
    rng = random.Random(0)
    documents = []
    for i in range(80):
        words = text(i, 100)
        for copy in range(rng.randrange(1, 5)):
            changed = list(words)
            for place in rng.sample(range(100), copy):
                changed[place] = f"changed{place}"
            documents.append((f"d{i:02d}-{copy}", "s", " ".join(changed)))
    return documents


def test_after_dedupe_no_training_document_has_a_test_twin(tmp_path: Path) -> None:
    documents = corpus()
    paths = write_signatures(tmp_path / "dedupe", documents)
    duplicates = tmp_path / "duplicates.parquet"
    config = DedupeConfig(keep=KeepConfig(policy="first_id"))
    near_dedupe(paths, duplicates, config, temp_directory=tmp_path)
    dropped = tuple(str(row["dropped"]) for row in read_rows(duplicates))
    rows, _ = split(tmp_path, documents, dropped, duplicate_paths=(duplicates,))
    texts = {id_: body for id_, _, body in documents}
    held_out = [id_ for id_ in texts if split_of(id_, CONFIG) == "test"]
    for id_, row in rows.items():
        closest = max(true_jaccard(texts[id_], texts[other]) for other in held_out)
        if row["split"] in ("train", "valid"):
            assert closest < 0.85, id_  # found with probability 0.98 and more
        elif row["reason"] == "near_twin_of_test":
            assert row["jaccard"] >= 0.7
            assert row["jaccard"] == true_jaccard(texts[id_], texts[str(row["twin"])])


@pytest.mark.parametrize(("shards", "threads"), [(3, 1), (7, 2)])
def test_shards_order_and_threads_change_nothing(tmp_path: Path, shards: int, threads: int) -> None:
    documents = corpus()
    split(tmp_path / "first", documents)
    random.Random(shards).shuffle(documents)
    split(tmp_path / "second", documents, shards=shards, threads=threads)
    first, second = (tmp_path / name / "split.parquet" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_a_kept_document_without_a_signature_is_an_error(tmp_path: Path) -> None:
    paths = write_signatures(tmp_path / "signatures", [("a", "s", "one")])
    pq.write_table(pa.table({"id": ["a", "b"]}), tmp_path / "kept.parquet")
    with pytest.raises(ValueError, match="1 kept documents have no signature, 'b' among them"):
        split_documents([tmp_path / "kept.parquet"], paths, tmp_path / "out", CONFIG, temp_directory=tmp_path)
    assert not (tmp_path / "out").exists()


def test_no_documents(tmp_path: Path) -> None:
    rows, counts = split(tmp_path, [])
    assert rows == {}
    assert set(counts.values()) == {0}


def test_fractions_that_leave_nothing_are_an_error() -> None:
    with pytest.raises(ValueError, match="leaves nothing to train on"):
        SplitConfig(test_fraction=0.5, valid_fraction=0.5)
