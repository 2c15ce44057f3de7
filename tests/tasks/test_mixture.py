"""The mixture reaches training: a document is read as often as it was drawn, and no test document is."""

import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data_quality.config import ShardConfig
from data_quality.errors import UsageError
from data_quality.split import split_of
from flows.config.pipeline import PipelineConfig
from flows.corpus import Corpus, build_corpus
from flows.pipeline import build_all
from flows.pretrain import Tokens, build_tokens
from lm.ngram.config import NgramConfig
from tasks.ngram import ngram
from tasks.pretrain import split_index
from tasks.report import ReportConfig, report
from tasks.reports.data import ReportData
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.running.tables import rows
from tasks.store import Artifact, Store
from tasks.tokenizer import count_tables
from tests.tasks.tiny_corpus import TOPICS, configuration, prose, write_documents

BUDGET = 6000
BY_TOKENS = {"enabled": True, "unit": "tokens", "budget": BUDGET, "weights": {"gardens": 3, "harbours": 1}}


ONE = Resources(workers=1, threads=1)


def built(config: PipelineConfig, store: Path, resources: Resources = ONE) -> tuple[Corpus, Tokens, Run]:
    with use_run(Run(Store(store), resources, Display(quiet=True))) as run:
        corpus = build_corpus(config)
        return corpus, build_tokens(config, corpus), run


def test_training_documents_come_as_often_as_they_were_drawn(tmp_path: Path) -> None:
    write_documents(tmp_path / "documents")
    mixture = {"enabled": True, "weights": {"gardens": 3, "harbours": 1}}
    config = configuration(tmp_path / "documents", mixture=mixture)
    corpus, tokens, _ = built(config, tmp_path / "store")
    [drawn] = corpus.mixture
    assert tokens.mixture == [drawn]
    [wanted] = rows(
        "SELECT sum(copies)::BIGINT AS copies, count(*) AS documents FROM read_parquet($split) s "
        "JOIN read_parquet($copies) c USING (id) WHERE s.split = 'train'",
        {"split": str(corpus.split.file("split.parquet")), "copies": str(drawn.file("copies.parquet"))},
    )
    train = split_index(tokens.tokens, corpus.split, "train", drawn)
    assert len(train) == wanted["copies"] > wanted["documents"]
    assert len(split_index(tokens.tokens, corpus.split, "train")) == wanted["documents"]


@pytest.fixture(scope="module")
def by_tokens(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Corpus, Tokens]:
    root = tmp_path_factory.mktemp("by tokens")
    write_documents(root / "documents")
    corpus, tokens, _ = built(configuration(root / "documents", mixture=BY_TOKENS), root / "store")
    return root, corpus, tokens


def of_source(corpus: Corpus, tokens: Tokens) -> dict[str, list[tuple[int, int]]]:
    """Tokens and copies of each training document, by source: from the tables, without the code that drew."""
    split = pq.read_table(corpus.split.file("split.parquet"), columns=["id"], filters=[("split", "=", "train")])
    copies = pq.read_table(tokens.mixture[0].file("copies.parquet")).to_pylist()
    often = {row["id"]: row["copies"] for row in copies}
    assert set(often) == set(split["id"].to_pylist())  # and so no document that is held out counts
    size = {r["id"]: r["tokens"] for path in count_tables(tokens.tokens) for r in pq.read_table(path).to_pylist()}
    found: dict[str, list[tuple[int, int]]] = {}
    for shard in corpus.kept.shards():
        for row in pq.read_table(shard.path, columns=["id", "source"]).to_pylist():
            if row["id"] in often:
                found.setdefault(row["source"], []).append((size[row["id"]], often[row["id"]]))
    return found


def test_a_budget_of_tokens_is_what_training_reads(by_tokens: tuple[Path, Corpus, Tokens]) -> None:
    _, corpus, tokens = by_tokens
    assert not corpus.mixture
    found = of_source(corpus, tokens)
    drawn = {name: sum(size * copies for size, copies in each) for name, each in found.items()}
    there = {name: sum(size for size, _ in each) for name, each in found.items()}
    largest = {name: max(size for size, _ in each) for name, each in found.items()}
    rate = BUDGET / (3 * there["gardens"] + there["harbours"])
    for name, weight in (("gardens", 3), ("harbours", 1)):
        assert 0 <= weight * rate * there[name] - drawn[name] < largest[name]
    train = split_index(tokens.tokens, corpus.split, "train", tokens.mixture[0])
    assert train.tokens == sum(drawn.values())
    assert BUDGET - 2 * max(largest.values()) < train.tokens <= BUDGET


def test_the_report_ends_with_what_is_drawn_of_the_training_documents(by_tokens: tuple[Path, Corpus, Tokens]) -> None:
    root, corpus, tokens = by_tokens
    given = vars(corpus) | {"mixture": tokens.mixture, "tokenizer": tokens.tokenizer, "tokens": tokens.tokens}
    with use_run(Run(Store(root / "store"), ONE, Display(quiet=True))):
        page = report(ReportConfig(name="tiny"), **given)
    data = ReportData.model_validate_json(page.file("report.json").read_text())
    drawn = [each for documents in of_source(corpus, tokens).values() for each in documents if each[1]]
    last, before = data.funnel[-1], data.funnel[-2]
    assert (before.name, last.name) == ("tokens", "mixture")
    assert (last.out.documents, last.out.tokens) == (len(drawn), sum(size for size, _ in drawn))
    assert last.out.bytes
    [train] = [part.amount for step in data.funnel for part in step.parts if part.name == "train"]
    assert last.into == train
    assert data.headline.drawn == last.out


def test_the_manifest_says_what_was_wanted_and_drawn(by_tokens: tuple[Path, Corpus, Tokens]) -> None:
    _, corpus, tokens = by_tokens
    manifest = tokens.mixture[0].manifest()
    assert {name: manifest["config"][name] for name in ("unit", "budget")} == {"unit": "tokens", "budget": BUDGET}
    assert [each["digest"] for each in manifest["inputs"]["tokens"]] == [tokens.tokens.digest]
    groups = manifest["counts"]["groups"]
    for name, each in of_source(corpus, tokens).items():
        assert groups[name]["documents"] == len(each)
        assert groups[name]["size"] == sum(size for size, _ in each)
        assert groups[name]["drawn"] == sum(size * copies for size, copies in each)
    assert sum(group["wanted"] for group in groups.values()) == pytest.approx(BUDGET)


def test_it_is_drawn_once_and_alike_with_more_workers_and_other_shards(
    by_tokens: tuple[Path, Corpus, Tokens], tmp_path: Path
) -> None:
    root, _, tokens = by_tokens
    config = configuration(root / "documents", mixture=BY_TOKENS)
    _, again, run = built(config, root / "store")
    assert again.mixture == tokens.mixture
    assert {record.state for record in run.records} == {"cached"}
    ingest = config.ingest.model_copy(update={"shards": ShardConfig(max_rows=20)})
    there = Resources(workers=2, threads=2, runner="threads")
    _, other, _ = built(config.model_copy(update={"ingest": ingest}), tmp_path, there)
    assert len(count_tables(other.tokens)) > len(count_tables(tokens.tokens))
    assert other.mixture[0].digest == tokens.mixture[0].digest


def test_models_and_the_report_have_it(by_tokens: tuple[Path, Corpus, Tokens]) -> None:
    root, corpus, tokens = by_tokens
    config = configuration(root / "documents", mixture=BY_TOKENS, task=None)
    with use_run(Run(Store(root / "store"), ONE, Display(quiet=True))):
        made = build_all(config)
        counted = ngram(
            NgramConfig(order=2),
            tokens=tokens.tokens,
            split=corpus.split,
            tokenizer=tokens.tokenizer,
            mixture=tokens.mixture[0],
        )
    for name in ("model", "report"):
        artifact = made[name]
        assert isinstance(artifact, Artifact)
        assert [each["digest"] for each in artifact.manifest()["inputs"]["mixture"]] == [tokens.mixture[0].digest]
    of_sources = of_source(corpus, tokens).values()
    assert counted.counts()["tokens"] == sum(size * copies for each in of_sources for size, copies in each)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": {"garden": 3}}, "names the source 'garden', which no kept document has; did you mean 'gardens'"),
        ({"weights": {"gone": 3}}, "names the source 'gone', which no kept document has"),
        ({"by": "language", "weights": {"fr": 3}}, "names the language 'fr', which no kept document has; valid are: "),
    ],
    ids=["mistyped", "nothing kept", "language"],
)
def test_a_weight_of_nothing_is_named_before_anything_is_split(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    documents = tmp_path / "documents"
    write_documents(documents)
    (documents / "gone").mkdir()
    (documents / "gone" / "short.txt").write_text("Of this source nothing is kept.")
    sources = [{"format": "text", "name": each, "paths": [str(documents / each)]} for each in (*TOPICS, "gone")]
    config = configuration(documents, ingest={"sources": sources}, mixture=BY_TOKENS | changes)
    with use_run(Run(Store(tmp_path / "store"), ONE, Display(quiet=True))) as run, pytest.raises(UsageError) as error:
        build_corpus(config)
    assert said in str(error.value)
    assert "split" not in {record.stage for record in run.records}


def test_a_weight_of_a_source_that_is_all_held_out_ends_nothing(tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    write_documents(documents)
    (documents / "few").mkdir()
    sources = [{"format": "text", "name": each, "paths": [str(documents / each)]} for each in (*TOPICS, "few")]
    mixture = BY_TOKENS | {"weights": {"few": 2}}
    config = configuration(documents, ingest={"sources": sources}, mixture=mixture)
    held_out = next(name for n in range(99) if split_of(f"few:{(name := f'{n}.txt')}", config.split) == "test")
    (documents / "few" / held_out).write_text(prose(random.Random(8), "gardens"))
    corpus, tokens, _ = built(config, tmp_path / "store")
    groups = tokens.mixture[0].counts()["groups"]
    assert groups["few"] == dict.fromkeys(
        ("documents", "size", "rate", "wanted", "drawn_documents", "drawn", "epochs"), 0
    )
    assert BUDGET - 1000 < groups["gardens"]["drawn"] + groups["harbours"]["drawn"] <= BUDGET
    assert "few" in {row["source"] for shard in corpus.kept.shards() for row in pq.read_table(shard.path).to_pylist()}
