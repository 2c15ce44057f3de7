"""near_dedupe against true Jaccard in plain Python: recall, precision, no chains, policies, bounds, invariance."""

import json
import os
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_quality import sql
from data_quality.config import (
    DedupeConfig,
    ExactDedupeConfig,
    KeepConfig,
    NearDedupeConfig,
    SignatureConfig,
)
from data_quality.dedupe import bands
from data_quality.dedupe.minhash import near_dedupe
from tests.data_quality.dedupe_oracle import (
    HAN,
    WORDS,
    Document,
    greedy,
    read_rows,
    true_jaccard,
    write_signatures,
)


def sentence(rng: random.Random, words: int) -> list[str]:
    """Words with rare ones among them, so that unrelated texts share hardly a shingle."""
    return [rng.choice(WORDS) + (str(rng.choice("abcdefgh")) * rng.randrange(3)) for _ in range(words)]


def edited(words: list[str], edits: int, rng: random.Random) -> list[str]:
    words = list(words)
    for place in rng.sample(range(len(words)), edits):
        words[place] = f"edit{rng.choice('abcdefghij')}{place}x"
    return words


def graded_corpus(pairs: int, seed: int = 0, words: int = 300) -> list[Document]:
    """`pairs` texts, each with a variant of 1 to 30 replaced words (word-5 Jaccard from about 0.97 to 0.4)."""
    rng = random.Random(seed)
    documents = []
    for i in range(pairs):
        base = sentence(rng, words)
        documents.append((f"p{i:04d}a", "base", " ".join(base)))
        documents.append((f"p{i:04d}b", "variant", " ".join(edited(base, 1 + i % 30, rng))))
    return documents


def mixed_corpus(seed: int = 0) -> list[Document]:
    """Families with exact copies, case variants, edits of edits, truncations, shared templates and short texts."""
    rng = random.Random(seed)
    documents: list[Document] = []

    def add(text: str) -> None:
        documents.append((f"{rng.randrange(10**6):06d}-{len(documents)}", rng.choice("abc"), text))

    for _ in range(40):
        base = sentence(rng, rng.randrange(20, 200))
        for _ in range(rng.randrange(1, 5)):
            add(" ".join(base))
        add(" ".join(base).upper() + "!")
        version = base
        for _ in range(rng.randrange(6)):
            version = edited(version, 1, rng)
            add(" ".join(version))
        add(" ".join(base[: len(base) * 9 // 10]))
        add(" ".join(base[:12] + sentence(rng, 40)))
    for text in ("", "", "!", "?", "one", "One.", "one two", "天地", "天地"):
        add(text)
    rng.shuffle(documents)
    return documents


def run(
    tmp_path: Path,
    documents: list[Document],
    config: DedupeConfig | None = None,
    *,
    shards: int = 1,
    threads: int = 1,
    signature: SignatureConfig | None = None,
    verdict_paths: tuple[Path, ...] = (),
) -> tuple[dict[str, dict[str, object]], dict[str, int], list[Path]]:
    paths = write_signatures(tmp_path / "signatures", documents, signature, shards)
    out = tmp_path / "duplicates.parquet"
    counts = near_dedupe(
        paths,
        out,
        config or DedupeConfig(),
        temp_directory=tmp_path,
        threads=threads,
        verdict_paths=verdict_paths,
    )
    rows = {str(row["dropped"]): row for row in read_rows(out)}
    assert counts["documents"] == len(documents)
    assert counts["kept"] == len(documents) - len(rows)
    assert all(row["kept"] not in rows for row in rows.values())
    return rows, counts, paths


def with_threshold(threshold: float, **near: int) -> DedupeConfig:
    return DedupeConfig(near=NearDedupeConfig(threshold=threshold, **near))


@pytest.mark.parametrize("threshold", [0.7, 0.8, 0.9])
def test_recall_is_the_s_curve_and_precision_is_one(tmp_path: Path, threshold: float) -> None:
    documents = graded_corpus(480, seed=int(threshold * 10))
    rows, _, _ = run(tmp_path, documents, with_threshold(threshold))
    texts = {id_: text for id_, _, text in documents}
    expected = variance = found = 0.0
    for (left, _, _), (right, _, _) in zip(documents[::2], documents[1::2], strict=True):
        similarity = true_jaccard(texts[left], texts[right])
        removed = rows.get(left) or rows.get(right)
        if similarity >= threshold:
            chance = 1 - (1 - similarity**8) ** 14
            expected += chance
            variance += chance * (1 - chance)
            found += removed is not None
        else:
            assert removed is None, similarity
        if removed:
            assert {removed["dropped"], removed["kept"]} == {left, right}
            assert removed["jaccard"] == similarity
    assert expected > 30
    assert abs(found - expected) <= 4 * variance**0.5 + 1e-9


@pytest.mark.parametrize("policy", ["longest", "shortest", "first_id", "source_priority"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_table_is_that_of_plain_python(tmp_path: Path, policy: str, seed: int) -> None:
    documents = mixed_corpus(seed)
    priority = ("b", "c") if policy == "source_priority" else ()
    keep = KeepConfig.model_validate({"policy": policy, "source_priority": priority})
    order = {
        "longest": lambda d: (-len(d[2]), d[0]),
        "shortest": lambda d: (len(d[2]), d[0]),
        "first_id": lambda d: d[0],
        "source_priority": lambda d: ({"b": 0, "c": 1}.get(d[1], 2), -len(d[2]), d[0]),
    }[policy]
    rows, counts, paths = run(tmp_path, documents, DedupeConfig(keep=keep), shards=3)
    expected = greedy(sorted(documents, key=order), paths, 0.8)
    assert {id_: (row["kept"], row["jaccard"]) for id_, row in rows.items()} == expected
    texts = {id_: text for id_, _, text in documents}
    for id_, row in rows.items():
        assert (row["kind"] == "exact") == (texts[id_] == texts[str(row["kept"])])
        assert row["family_size"] == 1 + sum(other["kept"] == row["kept"] for other in rows.values())
    assert counts["exact"] == sum(row["kind"] == "exact" for row in rows.values())
    assert counts["largest_family"] == max(int(str(row["family_size"])) for row in rows.values())
    assert counts["families"] == len({row["kept"] for row in rows.values()})


def chain() -> list[Document]:
    rng = random.Random(5)
    first = sentence(rng, 200)
    second = edited(first[:100], 3, rng) + first[100:]
    third = second[:100] + edited(first[100:], 3, rng)
    return [("a", "s", " ".join(first)), ("b", "s", " ".join(second)), ("c", "s", " ".join(third))]


def test_no_document_goes_by_a_chain(tmp_path: Path) -> None:
    documents = chain()
    a, b, c = (text for _, _, text in documents)
    assert true_jaccard(a, b) >= 0.8
    assert true_jaccard(b, c) >= 0.8
    assert true_jaccard(a, c) < 0.8
    rows, _, _ = run(tmp_path, documents, DedupeConfig(keep=KeepConfig(policy="first_id")))
    assert {id_: row["kept"] for id_, row in rows.items()} == {"b": "a"}


def test_a_copy_of_a_dropped_document_names_the_document_that_is_kept(tmp_path: Path) -> None:
    a, b, _ = chain()
    documents = [a, b, ("b-copy", "s", b[2]), ("b-upper", "s", b[2].upper())]
    rows, counts, _ = run(tmp_path, documents, DedupeConfig(keep=KeepConfig(policy="first_id")))
    assert {id_: row["kept"] for id_, row in rows.items()} == {"b": "a", "b-copy": "a", "b-upper": "a"}
    assert {row["jaccard"] for row in rows.values()} == {true_jaccard(a[2], b[2])}
    assert {row["kind"] for row in rows.values()} == {"near"}
    assert counts["largest_family"] == 4


def verdicts(path: Path, reasons: dict[str, str | None]) -> Path:
    table = {"id": list(reasons), "first_reason": pa.array(list(reasons.values()), pa.string())}
    pq.write_table(pa.table(table), path)
    return path


def test_a_failing_document_is_never_kept_in_favour_of_a_passing_one(tmp_path: Path) -> None:
    documents = mixed_corpus(3)
    rng = random.Random(1)
    reasons = {id_: rng.choice([None, "gopher_quality.gopher_short_doc"]) for id_, _, _ in documents}
    path = verdicts(tmp_path / "verdicts.parquet", reasons)
    rows, _, paths = run(tmp_path, documents, verdict_paths=(path,))
    assert all(reasons[str(row["kept"])] is None or reasons[id_] is not None for id_, row in rows.items())
    order = sorted(documents, key=lambda d: (reasons[d[0]] is not None, -len(d[2]), d[0]))
    assert {id_: (row["kept"], row["jaccard"]) for id_, row in rows.items()} == greedy(order, paths, 0.8)


def test_a_document_without_a_verdict_is_an_error(tmp_path: Path) -> None:
    path = verdicts(tmp_path / "verdicts.parquet", {"a": None})
    with pytest.raises(ValueError, match="2 documents have no verdict, 'b' among them"):
        run(tmp_path, chain(), verdict_paths=(path,))


def test_documents_that_share_a_template_stay(tmp_path: Path) -> None:
    rng = random.Random(2)
    template = sentence(rng, 120)
    documents = [(f"{i:03d}", "s", " ".join(template + sentence(rng, 80))) for i in range(200)]
    rows, counts, _ = run(tmp_path, documents)
    assert rows == {}
    assert counts["compared"] > 0


def test_a_thousand_identical_documents_need_no_comparison(tmp_path: Path) -> None:
    text = " ".join(sentence(random.Random(0), 50))
    rows, counts, _ = run(tmp_path, [(f"{i:04d}", "s", text) for i in range(1000)])
    assert {row["kept"] for row in rows.values()} == {"0000"}
    assert (counts["exact"], counts["compared"], counts["distinct"]) == (999, 0, 1)


def test_a_thousand_equal_shingle_sets_need_no_comparison(tmp_path: Path) -> None:
    text = " ".join(sentence(random.Random(0), 50))
    rows, counts, _ = run(tmp_path, [(f"{i:04d}", "s", text + "!" * i) for i in range(1000)])
    assert {row["kept"] for row in rows.values()} == {"0999"}
    assert (counts["near"], counts["compared"]) == (999, 0)


def test_a_thousand_variants_of_one_text_are_compared_once_each(tmp_path: Path) -> None:
    rng = random.Random(4)
    base = sentence(rng, 300)
    documents = [("0-base", "s", " ".join([*base, "and", "a", "long", "end"]))]
    documents += [(f"{i:04d}", "s", " ".join(edited(base, 2, rng))) for i in range(1000)]
    rows, counts, _ = run(tmp_path, documents)
    assert {row["kept"] for row in rows.values()} == {"0-base"}
    assert counts["near"] == counts["compared"] == 1000


def test_the_bound_bites_and_is_counted(tmp_path: Path) -> None:
    rng = random.Random(6)
    base = sentence(rng, 300)
    documents = [(f"{i:02d}", "s", " ".join(edited(base, 1, rng))) for i in range(50)]
    free, free_counts, _ = run(tmp_path / "free", documents, with_threshold(0.999))
    bound, bound_counts, _ = run(tmp_path / "bound", documents, with_threshold(0.999, max_comparisons=5))
    assert free == bound == {}
    assert free_counts["bounded"] == 0
    assert free_counts["compared"] == 50 * 49 // 2
    assert bound_counts["bounded"] == 50 - 6
    assert bound_counts["compared"] == 0 + 1 + 2 + 3 + 4 + 45 * 5


def test_exact_alone(tmp_path: Path) -> None:
    documents = [*chain(), ("b-copy", "s", chain()[1][2]), ("b-upper", "s", chain()[1][2].upper())]
    rows, counts, _ = run(tmp_path, documents, DedupeConfig(near=NearDedupeConfig(enabled=False)))
    assert {id_: (row["kept"], row["kind"], row["jaccard"]) for id_, row in rows.items()} == {
        "b-copy": ("b", "exact", 1.0)
    }
    assert counts["candidates"] == 0


def test_near_alone_calls_equal_texts_near(tmp_path: Path) -> None:
    documents = [("a", "s", "one two"), ("b", "s", "one two")]
    rows, _, _ = run(tmp_path, documents, DedupeConfig(exact=ExactDedupeConfig(enabled=False)))
    assert rows["b"]["kind"] == "near"


def test_both_off_removes_nothing(tmp_path: Path) -> None:
    off = DedupeConfig(exact=ExactDedupeConfig(enabled=False), near=NearDedupeConfig(enabled=False))
    rows, counts, _ = run(tmp_path, [("a", "s", "one two"), ("b", "s", "one two")], off)
    assert rows == {}
    assert counts["kept"] == 2


def test_short_and_empty_texts(tmp_path: Path) -> None:
    texts = ["", "", "!!!", "???", "one", "One!", "one two", "two one", "天地", "天 地", "地天"]
    rows, _, _ = run(tmp_path, [(f"{i:02d}", "s", text) for i, text in enumerate(texts)])
    assert {id_: row["kept"] for id_, row in rows.items()} == {"01": "00", "04": "05", "08": "09"}


def test_chinese_by_character_edits(tmp_path: Path) -> None:
    rng = random.Random(8)
    documents = []
    for i in range(60):
        text = [rng.choice(HAN) for _ in range(200)]
        documents.append((f"{i:02d}a", "s", "".join(text)))
        for place in rng.sample(range(200), 1 if i % 2 else 40):
            text[place] = "的"
        documents.append((f"{i:02d}b", "s", "".join(text)))
    rows, _, paths = run(tmp_path, documents)
    assert {id_[:2] for id_ in rows} == {f"{i:02d}" for i in range(1, 60, 2)}
    assert {id_: (row["kept"], row["jaccard"]) for id_, row in rows.items()} == greedy(documents, paths, 0.8)


def test_character_shingles(tmp_path: Path) -> None:
    """A word of one letter more is one shingle in a hundred by characters, and five words of thirty by words."""
    words = sentence(random.Random(9), 30)
    changed = [*words[:15], words[15] + "s", *words[16:]]
    documents = [("a", "s", " ".join(words)), ("b", "s", " ".join(changed))]
    by_word, _, _ = run(tmp_path / "word", documents)
    by_character, _, _ = run(tmp_path / "character", documents, signature=SignatureConfig(unit="character", size=13))
    assert by_word == {}
    assert list(by_character) == ["a"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    directory = tmp_path_factory.mktemp("reference")
    run(directory, mixed_corpus(7))
    return (directory / "duplicates.parquet").read_bytes()


@pytest.mark.parametrize(("shards", "threads", "shuffle"), [(1, 2, 1), (3, 1, 2), (7, 2, 3), (20, 2, 4)])
def test_shards_order_and_threads_change_nothing(
    tmp_path: Path, reference: bytes, shards: int, threads: int, shuffle: int
) -> None:
    documents = mixed_corpus(7)
    random.Random(shuffle).shuffle(documents)
    run(tmp_path, documents, shards=shards, threads=threads)
    assert (tmp_path / "duplicates.parquet").read_bytes() == reference


def test_row_groups_are_cut_by_count_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "ROW_GROUP", 10)
    rows, _, _ = run(tmp_path, mixed_corpus(7))
    metadata = pq.read_metadata(tmp_path / "duplicates.parquet")
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert set(sizes[:-1]) == {10}
    assert sum(sizes) == len(rows)
    assert list(rows) == sorted(rows)


def test_groups_of_bands_change_nothing(tmp_path: Path, reference: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "VALUES_AT_ONCE", 50)
    run(tmp_path, mixed_corpus(7))
    assert read_rows(tmp_path / "duplicates.parquet") == pq.read_table(pa.BufferReader(reference)).to_pylist()


def test_nothing_is_left_in_the_temporary_directory(tmp_path: Path) -> None:
    paths = write_signatures(tmp_path / "signatures", mixed_corpus(1))
    (tmp_path / "temporary").mkdir()
    with sql.open_database(tmp_path / "temporary", "1GB", 1) as (_, directory):
        shutil.copytree(directory, directory.with_name(f"{directory.name}-killed"))
    near_dedupe(paths, tmp_path / "out.parquet", DedupeConfig(), temp_directory=tmp_path / "temporary")
    assert list((tmp_path / "temporary").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "signatures", "temporary"]


def test_progress_counts_the_candidates_and_stop_leaves_nothing(tmp_path: Path) -> None:
    paths = write_signatures(tmp_path / "signatures", mixed_corpus(1))
    seen: list[int] = []
    out = tmp_path / "out.parquet"
    counts = near_dedupe(paths, out, DedupeConfig(), temp_directory=tmp_path, progress=seen.append)
    assert sum(seen) == counts["candidates"] > 0
    with pytest.raises(InterruptedError, match="stopped after 0 of"):
        near_dedupe(paths, tmp_path / "b.parquet", DedupeConfig(), temp_directory=tmp_path, should_stop=lambda: True)
    assert not (tmp_path / "b.parquet").exists()


def test_an_id_that_comes_twice_is_an_error(tmp_path: Path) -> None:
    documents = [("a", "s", "one"), ("b", "s", "two"), ("a", "s", "three")]
    with pytest.raises(ValueError, match="3 documents have 2 ids, 'a' is one that comes twice"):
        run(tmp_path, documents, shards=3)


def test_shards_of_two_configs_are_an_error(tmp_path: Path) -> None:
    first = write_signatures(tmp_path / "first", [("a", "s", "one")])
    second = write_signatures(tmp_path / "second", [("b", "s", "one")], SignatureConfig(seed=2))
    with pytest.raises(ValueError, match="make all signatures with one config"):
        near_dedupe([*first, *second], tmp_path / "out", DedupeConfig(), temp_directory=tmp_path)


def test_no_shard_and_no_signatures_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no signature shards were given"):
        near_dedupe([], tmp_path / "out", DedupeConfig(), temp_directory=tmp_path)
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match=r"other\.parquet is not a signature shard"):
        near_dedupe([tmp_path / "other.parquet"], tmp_path / "out", DedupeConfig(), temp_directory=tmp_path)


def test_no_documents(tmp_path: Path) -> None:
    rows, counts, _ = run(tmp_path, [])
    assert rows == {}
    assert set(counts.values()) == {0}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"policy": "source_priority"}, "list the sources"),
        ({"source_priority": ["a"]}, "list the sources"),
        ({"policy": "source_priority", "source_priority": ["a", "a"]}, "names a source twice"),
    ],
)
def test_bad_keep_policies(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KeepConfig.model_validate(config)


@pytest.mark.skipif("TEXTMILL_DATA" not in os.environ, reason="needs TEXTMILL_DATA")
def test_real_documents_go_only_for_a_true_twin(tmp_path: Path) -> None:
    path = Path(os.environ["TEXTMILL_DATA"]) / "corpus_en" / "part-002.jsonl.zst"
    documents = []
    with pa.input_stream(str(path), compression="zstd") as stream:
        lines = stream.read(12_000_000).split(b"\n")[:-1]
    for line in lines:
        record = json.loads(line)
        documents.append((record["id"], record["source"], record["text"]))
    rows, _, paths = run(tmp_path, documents, shards=2)
    order = sorted(documents, key=lambda d: (-len(d[2]), d[0]))
    assert len(rows) > 10
    assert {id_: (row["kept"], row["jaccard"]) for id_, row in rows.items()} == greedy(order, paths, 0.8)
