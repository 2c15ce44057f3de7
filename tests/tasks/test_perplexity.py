"""Perplexity in the flow: an n-gram model where a reference is named, by the language that was identified."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

import lm.ngram.build
from data_quality.config import IngestConfig, LanguageConfig, PerplexityConfig, Selection
from data_quality.errors import UsageError
from lm.ngram.model import load_ngram
from tasks.ingest import fingerprinted, ingest
from tasks.languages import languages
from tasks.perplexity import ReferenceConfig, perplexities, perplexity, reference_model
from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.stage import NoConfig
from tasks.store import Artifact, Store
from tests.tasks.tiny_corpus import prose

CHINESE = [
    "玫瑰",
    "花园",
    "土地",
    "种子",
    "冬天",
    "铲子",
    "水",
    "树叶",
    "港口",
    "船",
    "货物",
    "潮水",
    "水手",
    "码头",
    "风暴",
]
GARDENS = Selection(ids=("*gardens*",))


def write(root: Path) -> None:
    """English of two topics and Chinese, of which no source says the language."""
    draw = random.Random(3)
    for topic in ("gardens", "harbours"):
        (root / topic).mkdir(parents=True)
        for number in range(20):
            (root / topic / f"en{number:02d}.txt").write_text(prose(draw, topic))
            text = "".join(draw.choice(CHINESE) for _ in range(80))
            (root / topic / f"zh{number:02d}.txt").write_text(text + "。")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    write(tmp_path / "documents")
    return Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))


def buckets(scored: Artifact) -> list[dict[str, Any]]:
    return [row for shard in scored.shards() for row in pq.read_table(shard.path).to_pylist()]


def corpus(tmp_path: Path) -> Artifact:
    source = {"format": "text", "name": "t", "paths": [str(tmp_path / "documents")]}
    return ingest(fingerprinted(IngestConfig.model_validate({"sources": [source]}), None))


def test_an_ngram_model_knows_its_reference_and_every_language_has_its_own(tmp_path: Path, run: Run) -> None:
    config = PerplexityConfig(enabled=True, reference=GARDENS, vocab_size=300)
    with use_run(run):
        documents = corpus(tmp_path)
        known = [languages(LanguageConfig(enabled=True), corpus=documents)]
        scored = perplexity(config, corpus=documents, reference=documents, languages=known, reference_languages=known)
    pool.shut_down()
    rows = buckets(scored)
    assert {row["language"] for row in rows} == {"en", "zh"}
    assert all(row["perplexity"] is not None for row in rows)
    english = sorted((row["perplexity"], row["id"]) for row in rows if row["language"] == "en")
    assert all("gardens" in id for _, id in english[:20])
    assert english[20][0] > 1.5 * english[19][0]
    assert {row["perplexity_bucket"] for row in rows} == {"head", "middle", "tail"}


@pytest.mark.parametrize("model", ["unigram", "ngram"])
def test_a_reference_without_a_document_is_refused(model: str, tmp_path: Path, run: Run) -> None:
    config = PerplexityConfig.model_validate({"enabled": True, "reference": {"sources": ["nosuch"]}, "model": model})
    with use_run(run):
        documents = corpus(tmp_path)
        with pytest.raises(UsageError, match=r"perplexity\.reference selects no document of ingest/"):
            perplexity(config, corpus=documents, reference=documents, languages=[], reference_languages=[])


def test_the_score_is_that_of_the_stored_model(tmp_path: Path, run: Run) -> None:
    settings = ReferenceConfig.of(PerplexityConfig(reference=GARDENS, vocab_size=300, order=3))
    with use_run(run):
        documents = corpus(tmp_path)
        made = reference_model(settings, reference=documents, languages=[])
        scores = perplexities(NoConfig(), corpus=documents, model=made, languages=[])
    pool.shut_down()
    assert json.loads(made.file("models.json").read_text()) == [None]
    model = load_ngram(made.path / "0")
    assert model.order == 3
    text = next(row for s in documents.shards() for row in pq.read_table(s.path).to_pylist() if "en07" in row["id"])
    [score] = [
        row["perplexity"]
        for shard in scores.shards()
        for row in pq.read_table(shard.path).to_pylist()
        if row["id"] == text["id"]
    ]
    ids = model.encode(text["text"])
    assert score == pytest.approx(math.exp(-sum(model.log_probs(ids, [0, len(ids)])) / len(ids)))


def test_no_more_text_is_learned_from_than_asked_for_and_always_the_same(tmp_path: Path) -> None:
    write(tmp_path / "documents")
    (tmp_path / "documents" / "gardens" / "long.txt").write_text(prose(random.Random(9), "gardens", 120))
    made: dict[int, list[Artifact]] = {3_000: [], 100_000: []}
    for threads in (1, 4):
        for most, models in made.items():
            settings = ReferenceConfig.of(PerplexityConfig(reference=GARDENS, vocab_size=300, sample_bytes=most))
            store = Store(tmp_path / f"{threads}-{most}")
            with use_run(Run(store, Resources(workers=1, threads=threads), Display(quiet=True))):
                models.append(reference_model(settings, reference=corpus(tmp_path), languages=[]))
    pool.shut_down()
    assert [model.digest for model in made[3_000]] == [made[3_000][0].digest] * 2
    assert [model.digest for model in made[100_000]] == [made[100_000][0].digest] * 2
    assert 0 < 3 * made[3_000][0].counts()["tokens"] < made[100_000][0].counts()["tokens"]


def test_languages_that_were_built_before_a_kill_are_not_built_again(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ReferenceConfig.of(PerplexityConfig(reference=GARDENS, vocab_size=300))
    built: list[Path] = []
    build = lm.ngram.build.build_ngram

    def counting(*arguments: Any, **options: Any) -> Any:
        if len(built) == 1:
            built.append(Path())
            raise KeyboardInterrupt
        built.append(arguments[3])
        return build(*arguments, **options)

    monkeypatch.setattr(lm.ngram.build, "build_ngram", counting)
    with use_run(run):
        documents = corpus(tmp_path)
        known = [languages(LanguageConfig(enabled=True), corpus=documents)]
        with pytest.raises(KeyboardInterrupt):
            reference_model(settings, reference=documents, languages=known)
        made = reference_model(settings, reference=documents, languages=known)
    pool.shut_down()
    assert [folder.name for folder in built] == ["0", "", "1"]
    assert made.counts()["languages"] == 2


def test_without_a_reference_it_is_word_frequencies_and_an_ngram_model_is_refused(tmp_path: Path, run: Run) -> None:
    assert ReferenceConfig.of(PerplexityConfig()).model == "unigram"
    assert ReferenceConfig.of(PerplexityConfig(reference=GARDENS)).model == "ngram"
    with pytest.raises(ValidationError, match=r"name a perplexity\.reference, or take unigram"):
        PerplexityConfig(model="ngram")
    with use_run(run):
        documents = corpus(tmp_path)
        scored = perplexity(
            PerplexityConfig(), corpus=documents, reference=documents, languages=[], reference_languages=[]
        )
    pool.shut_down()
    assert all(row["perplexity"] > 1 for row in buckets(scored))
