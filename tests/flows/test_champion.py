"""A contest of two models on documents that neither has read; their servers have a test of their own."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prefect.exceptions import FlowPauseTimeout

from data_quality.errors import UsageError
from flows.champion import compare_pair, described
from flows.config.champion import ChampionConfig
from flows.config.loading import CONFIGS, ConfigError, load
from flows.servers import approval
from lm.evaluate.metrics import paired_bootstrap
from tasks.contest import ContestConfig, contest, read_contest
from tasks.contest_documents import HELD_OUT, ContestDocumentsConfig, TooFewHeldOut, contest_documents
from tasks.running.progress import Display
from tasks.running.run import Run, use_run
from tasks.stage import NoConfig, Work, stage
from tasks.store import Artifact, Store
from tasks.tracking.champions import Pair, Version
from tests.flows.exam_home import QUIET, exam_corpus, exam_split
from tests.lm.corpus import write_documents


@pytest.fixture
def run(exam_home: Path) -> Any:
    with use_run(Run(Store(exam_home / "store"), QUIET, Display(quiet=True))) as run:
        yield run


def between(run: Run, champion: str, challenger: str) -> Pair:
    named = {name: run.store.aliased(name) for name in (champion, challenger)}
    return Pair(*(Version(str(n), artifact) for n, artifact in enumerate(named.values(), start=1)))  # type: ignore[arg-type]


SETTINGS = ChampionConfig(held_out=ContestDocumentsConfig(least=3), contest=ContestConfig(draws=500))


def test_trigrams_beat_single_words_and_not_the_other_way_round(run: Run) -> None:
    pair = between(run, "one", "three")
    found = read_contest(compare_pair(SETTINGS, pair, run))
    assert found["wins"]
    assert found["documents"] == 6
    assert found["difference"]["low"] > 0
    bits = found["bits_per_byte"]
    assert found["difference"]["value"] == pytest.approx(bits["champion"] - bits["challenger"])
    text = described(SETTINGS, pair, found)
    assert f"| challenger | 2 | `{pair.challenger.artifact.name}` | {bits['challenger']:.4f} |" in text
    assert "On 6 documents" in text
    assert ", above 0 throughout." in text

    back = read_contest(compare_pair(SETTINGS, between(run, "three", "one"), run))
    assert not back["wins"]
    assert back["difference"]["value"] == -found["difference"]["value"]
    assert "not above 0 throughout" in back["reason"]
    assert "There is no champion" in described(SETTINGS, Pair(None, pair.challenger), None)


def test_a_model_does_not_win_against_itself(run: Run) -> None:
    same = between(run, "one", "three").challenger
    found = read_contest(compare_pair(SETTINGS, Pair(same, same), run))
    assert (found["difference"]["value"], found["wins"]) == (0.0, False)


def test_a_margin_that_is_not_reached_keeps_the_champion(run: Run) -> None:
    strict = SETTINGS.model_copy(update={"contest": ContestConfig(draws=500, margin=50.0)})
    assert not read_contest(compare_pair(strict, between(run, "one", "three"), run))["wins"]


def test_a_model_without_a_lineage_is_refused(run: Run) -> None:
    pair = between(run, "one", "three")
    stranger = exam_corpus(NoConfig())
    with pytest.raises(ConfigError, match=r"the lineage of exam_corpus/.* names none"):
        compare_pair(SETTINGS, Pair(pair.champion, Version("3", stranger)), run)


@stage(version=1)
def other_split(work: Work, config: NoConfig, *, corpus: Artifact) -> None:
    """Another model's test documents: of the last six it holds out three, and six that the other trained on."""
    [shard] = corpus.shards()
    ids = pq.read_table(shard.path)["id"].to_pylist()
    splits = ["test" if n < 6 or n >= 27 else "train" for n in range(len(ids))]
    pq.write_table(pa.table({"id": ids, "split": splits}), work.directory / "split.parquet")
    work.counts["test"] = 9


@stage(version=1)
def other_corpus(work: Work, config: NoConfig, *, corpus: Artifact) -> None:
    """The same documents but one, whose text has changed since."""
    [shard] = corpus.shards()
    table = pq.read_table(shard.path)
    texts = dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
    texts["doc-29"] = "Another text than the one that was held out before."
    write_documents(work.directory / "00000.parquet", texts)
    work.shards = [{"path": "00000.parquet", "digest": "2", "counts": {}}]


def test_only_what_both_hold_out_with_the_same_text_is_asked(run: Run) -> None:
    corpus = exam_corpus(NoConfig())
    later = other_corpus(NoConfig(), corpus=corpus)
    splits = [exam_split(NoConfig(), corpus=corpus), other_split(NoConfig(), corpus=later)]
    made = contest_documents(ContestDocumentsConfig(least=2), corpus=later, corpora=[corpus, later], split=splits)
    table = pq.read_table(made.file(HELD_OUT))
    assert table["id"].to_pylist() == ["doc-27", "doc-28"]
    one = contest_documents(
        ContestDocumentsConfig(least=2, documents=1), corpus=later, corpora=[corpus, later], split=splits
    )
    assert pq.read_table(one.file(HELD_OUT))["id"].to_pylist()[0] in ("doc-27", "doc-28")
    assert one.counts() == {"documents": 1, "shared": 2}
    with pytest.raises(TooFewHeldOut, match=r"only 2 documents .*each has \[0, 9\]\), and 30 are needed"):
        contest_documents(ContestDocumentsConfig(), corpus=later, corpora=[corpus, later], split=splits)


@stage(version=1)
def answers(work: Work, config: NoConfig, *, of: list[Artifact]) -> None:
    """What 40 documents of 100 bytes cost a made-up model."""
    cost = np.random.default_rng(len(of)).normal(80 - 8 * len(of), 10, 40)
    ids = [f"d{n}" for n in range(40)]
    table = pa.table({"id": ids, "nats": cost, "bytes": pa.array([100] * 40, pa.int32())})
    pq.write_table(table, work.directory / "decisions.parquet")


def test_with_documents_of_one_length_it_is_the_interval_of_compare(run: Run) -> None:
    first = answers(NoConfig(), of=[])
    second = answers(NoConfig(), of=[first])
    found = read_contest(contest(ContestConfig(), champion=first, challenger=second))
    costs = [pq.read_table(each.file("decisions.parquet"))["nats"].to_numpy() for each in (first, second)]
    wanted = paired_bootstrap(*(cost / 100 / math.log(2) for cost in costs))
    for name in ("value", "low", "high"):
        assert found["difference"][name] == pytest.approx(getattr(wanted, name), abs=0.004)
    assert found["wins"] == (wanted.low > 0)


def test_who_gets_no_answer_is_told_what_was_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody(**options: Any) -> None:
        raise FlowPauseTimeout("Flow run was paused and never resumed")

    monkeypatch.setattr(approval, "pause_flow_run", nobody)
    with pytest.raises(UsageError, match=r"nobody answered within 0\.5 hours \(approval\.timeout_hours\): nothing was"):
        approval.approved("text", 0.5)
    assert capsys.readouterr().err.startswith("waits for a yes or no, for 0.5 hours at most: press Resume at ")


def test_the_shipped_file_is_the_default_and_a_wrong_key_is_named() -> None:
    assert load(CONFIGS / "champion" / "weekly.yaml", {}, ChampionConfig) == ChampionConfig()
    with pytest.raises(ConfigError, match=r"contest.margins: unknown key; did you mean 'contest.margin'"):
        load(CONFIGS / "champion" / "weekly.yaml", {"contest.margins": "1"}, ChampionConfig)
    with pytest.raises(ConfigError, match=r"contest\.confidence"):
        load(CONFIGS / "champion" / "weekly.yaml", {"contest.confidence": "95"}, ChampionConfig)
