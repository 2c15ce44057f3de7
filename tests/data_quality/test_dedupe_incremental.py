"""A refresh from an earlier state gives, byte for byte, what a full run over the union gives; and presets, policies."""

import random
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_quality.config import DedupeConfig, KeepConfig, NearDedupeConfig
from data_quality.dedupe import verify
from data_quality.dedupe.minhash import near_dedupe
from tests.data_quality.dedupe_oracle import WORDS, Document, write_signatures

FILES = ("duplicates.parquet", "index.parquet", "pairs.parquet")


@dataclass
class Item:
    """One document of a corpus that changes from night to night."""

    source: str
    words: list[str]
    fails: bool
    score: float | None
    date: str | None
    pinned: bool


def item(rng: random.Random, corpus: dict[str, Item]) -> Item:
    """Alone, a copy, a near-duplicate at various distances, or on the template of another."""
    kind = rng.random()
    words = [rng.choice(WORDS) + rng.choice(WORDS) for _ in range(60)]
    if corpus and kind < 0.8:
        words = list(rng.choice(list(corpus.values())).words)
        for place in rng.sample(range(len(words)), rng.choice([0, 0, 1, 1, 2, 3, 6])):
            words[place] = "edit" + rng.choice(WORDS) + rng.choice(WORDS)
        if kind < 0.1:
            words = [word.upper() for word in words]  # an equal shingle set, another text
    return Item(
        source=rng.choice("abc"),
        words=words,
        fails=rng.random() < 0.2,
        score=rng.choice([None, 0.1, 0.5, 0.9]),
        date=rng.choice([None, "2021", "2020-05-01T10:00:00Z", "no date"]),
        pinned=rng.random() < 0.05,
    )


def changed(corpus: dict[str, Item], rng: random.Random, night: int) -> dict[str, Item]:
    """The corpus a night later: some documents new, gone, judged anew or rewritten."""
    after = {id_: one for id_, one in corpus.items() if rng.random() > 0.06}
    for id_ in list(after):
        luck = rng.random()
        if luck < 0.04:
            old = after[id_]
            after[id_] = Item(old.source, old.words, not old.fails, rng.random(), "2019", not old.pinned)
        elif luck < 0.06:
            after[id_] = item(rng, after)
    for number in range(rng.randrange(1, 12)):
        after[f"n{night}-{number:02d}"] = item(rng, after)
    return after


def solve(directory: Path, corpus: dict[str, Item], config: DedupeConfig, **options: object) -> dict[str, int]:
    """near_dedupe with everything the policies look at, in a random order over a random number of shards."""
    rng = random.Random(str(directory))
    documents: list[Document] = [(id_, one.source, " ".join(one.words)) for id_, one in corpus.items()]
    rng.shuffle(documents)
    directory.mkdir(parents=True)
    paths = write_signatures(directory / "signatures", documents, shards=rng.randrange(1, 5))
    tables = {
        "verdicts": {
            "first_reason": pa.array(["short" if one.fails else None for one in corpus.values()], pa.string())
        },
        "scores": {"score": pa.array([one.score for one in corpus.values()], pa.float64())},
        "documents": {
            "metadata": ["{}" if one.date is None else f'{{"date":"{one.date}"}}' for one in corpus.values()]
        },
    }
    for name, columns in tables.items():
        pq.write_table(pa.table({"id": list(corpus), **columns}), directory / f"{name}.parquet")
    pinned = [id_ for id_, one in corpus.items() if one.pinned]
    pq.write_table(pa.table({"id": pa.array(pinned, pa.string())}), directory / "pinned.parquet")
    return near_dedupe(
        paths,
        directory / "duplicates.parquet",
        config,
        verdict_paths=[directory / "verdicts.parquet"],
        score_paths=[directory / "scores.parquet"],
        document_paths=[directory / "documents.parquet"],
        pinned_paths=[directory / "pinned.parquet"],
        keep_state=True,
        temp_directory=directory,
        threads=2,
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("policy", ["longest", "best_score", "oldest", "source_priority", "first_id"])
@pytest.mark.parametrize("seed", [0, 1])
def test_nights_of_changes_end_where_a_full_run_does(
    tmp_path: Path, policy: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded comparisons and forgotten negatives included: both bite here."""
    monkeypatch.setattr(verify, "_STORED_NEGATIVES", 2)
    rng = random.Random(f"{policy} {seed}")
    priority = ("b", "c") if policy == "source_priority" else ()
    keep = KeepConfig.model_validate({"policy": policy, "source_priority": priority})
    config = DedupeConfig(keep=keep, near=NearDedupeConfig(threshold=0.7, max_comparisons=4))
    corpus: dict[str, Item] = {}
    for number in range(250):
        corpus[f"d{number:03d}"] = item(rng, corpus if rng.random() < 0.4 else {})
    solve(tmp_path / "0", corpus, config)
    saved = 0
    for night in range(1, 3):
        corpus = changed(corpus, rng, night)
        full = solve(tmp_path / f"full-{night}", corpus, config)
        refreshed = solve(tmp_path / str(night), corpus, config, previous=tmp_path / str(night - 1))
        for name in FILES:
            same = (tmp_path / str(night) / name).read_bytes() == (tmp_path / f"full-{night}" / name).read_bytes()
            assert same, (night, name)
        saved += full.pop("solved") - refreshed.pop("solved")
        assert refreshed == full
        assert full["near"] > 10
    assert saved > 0


def plain(words: list[str]) -> Item:
    return Item("s", words, fails=False, score=None, date=None, pinned=False)


def test_the_twin_of_a_rewritten_document_comes_back(tmp_path: Path) -> None:
    """The old family of a document that now is like no other must be solved again."""
    rng = random.Random(3)
    texts = [[rng.choice(WORDS) + rng.choice(WORDS) for _ in range(200)] for _ in range(21)]
    corpus = {f"d{number:02d}": plain(words) for number, words in enumerate(texts[:20])}
    corpus["twin"] = plain([*texts[0][:199], "changed"])
    config = DedupeConfig(keep=KeepConfig(policy="first_id"))
    assert solve(tmp_path / "0", corpus, config)["near"] == 1
    corpus["d00"] = plain(texts[20])
    counts = solve(tmp_path / "1", corpus, config, previous=tmp_path / "0")
    assert (counts["near"], counts["kept"], counts["solved"]) == (0, 21, 2)


def test_a_hint_of_another_config_or_without_a_state_is_not_looked_at(tmp_path: Path) -> None:
    rng = random.Random(4)
    corpus = {f"d{number}": item(rng, {}) for number in range(10)}
    solve(tmp_path / "0", corpus, DedupeConfig(near=NearDedupeConfig(threshold=0.5)))
    other = solve(tmp_path / "1", corpus, DedupeConfig(), previous=tmp_path / "0")
    missing = solve(tmp_path / "2", corpus, DedupeConfig(), previous=tmp_path / "nowhere")
    assert other["solved"] == missing["solved"] == 10
    assert solve(tmp_path / "3", corpus, DedupeConfig(), previous=tmp_path / "1")["solved"] == 0
