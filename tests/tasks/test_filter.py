"""What leaves the kept text, whatever shards the documents were measured in; and what judging leaves behind."""

import shutil
from pathlib import Path

import duckdb
import pytest

from data_quality.config import DocumentList, PerplexityConfig, QualityConfig, SignalsConfig
from data_quality.line_edits import edit_lines
from data_quality.spans import Edit, apply_edits
from data_quality.sql import connect
from data_quality.text_lines import text_lines
from flows.corpus import build_corpus
from tasks.filter import DROPPED, JudgeRequest, filter_corpus, judge
from tasks.perplexity import perplexity
from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.running.tables import rows
from tasks.signals import signals
from tasks.stage import NoConfig
from tasks.store import SCRATCH_DIRECTORY, Store
from tests.tasks import asking
from tests.tasks.dedupe_cases import pages
from tests.tasks.tiny_corpus import ADDRESS, configuration, write_documents

POLICY = "Read our privacy policy and our terms of use before you plant anything here."


def test_edited_lines_leave_the_kept_text(tmp_path: Path) -> None:
    write_documents(tmp_path / "documents")
    for path in sorted((tmp_path / "documents").rglob("0*.txt")):
        path.write_text(f"{POLICY}\n\n{path.read_text()}")
    quality = {"rulesets": ["gopher_repetition", "gopher_quality", "c4"]}
    config = configuration(tmp_path / "documents", rules=quality)
    with use_run(Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
        corpus = build_corpus(config)
    pool.shut_down()
    normalized = [str(shard.path) for shard in corpus.normalized.shards()]
    before = {row["id"]: row["text"] for row in rows("SELECT id, text FROM read_parquet(?)", [normalized])}
    kept = rows("SELECT id, text FROM read_parquet(?)", asking.kept(corpus))
    dropped = rows("SELECT id, text FROM read_parquet(?)", asking.dropped(corpus))
    edits = QualityConfig().signals.c4
    assert edits is not None
    edited = [row for row in kept if POLICY in before[row["id"]]]
    assert edited
    for row in kept:
        removed = edit_lines(text_lines([before[row["id"]]]), 0, edits).removed
        assert row["text"] == apply_edits(before[row["id"]], [Edit(*span) for span in removed.tolist()])
        assert POLICY not in row["text"]
    for row in dropped:  # nothing but personal data leaves what was judged
        assert row["text"] == before[row["id"]].replace(ADDRESS, "<email>")


def test_lists_override_rules_and_dedupe(tmp_path: Path) -> None:
    write_documents(tmp_path / "documents")
    lists = {
        "keep": {"ids": ["gardens:short.txt", "*:copy.txt"]},
        "drop": {"ids": ["gardens:05.txt", "no:such.txt"], "sources": ["no-such-source"]},
    }
    quality = {"rulesets": ["gopher_quality"], **lists}
    with use_run(Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
        corpus = build_corpus(configuration(tmp_path / "documents", rules=quality))
    pool.shut_down()
    decided = rows("SELECT * FROM read_parquet(?)", asking.decided(corpus))
    decisions = {row["id"]: row for row in decided}
    assert decisions["gardens:05.txt"]["reason"] == "list.drop"
    kept = ["gardens:copy.txt", "harbours:copy.txt", "gardens:short.txt"]
    for document in kept:
        assert decisions[document]["kept"]
        assert decisions[document]["reason"] is None
        assert decisions[document]["reasons"][0] == "list.keep"
    against = {reason for document in kept for reason in decisions[document]["reasons"]}
    assert "gopher_quality.gopher_short_doc" in against  # what spoke against them is on file
    assert corpus.verdicts.counts()["unmatched"] == 2
    texts = rows("SELECT id FROM read_parquet(?)", asking.kept(corpus))
    assert set(kept) <= {row["id"] for row in texts}


def test_the_edits_of_all_text_versions_leave_the_kept_text(tmp_path: Path) -> None:
    write_documents(tmp_path / "documents")
    path = tmp_path / "documents" / "gardens" / "07.txt"
    path.write_text(f"{POLICY}\n\n3 likes\n\n{path.read_text()}")
    rulesets = ["c4", "refinedweb"]
    thresholds = {"refinedweb.too_many_words_removed": 1.0}
    with use_run(Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
        corpus = build_corpus(
            configuration(tmp_path / "documents", rules={"rulesets": rulesets, "thresholds": thresholds})
        )
    pool.shut_down()
    kept = rows("SELECT id, text FROM read_parquet(?)", asking.kept(corpus))
    texts = {row["id"]: row["text"] for row in kept}
    assert "3 likes" not in texts["gardens:07.txt"]  # RefinedWeb's edit; C4 removes it too, as it is short
    assert POLICY not in texts["gardens:07.txt"]  # C4's edit


def test_only_shards_whose_decisions_changed_are_written_again(tmp_path: Path) -> None:
    write_documents(tmp_path / "documents")
    sources = configuration(tmp_path / "documents").ingest.model_dump(mode="json")["sources"]
    ingest = {"sources": sources, "shards": {"max_bytes": 12_000}}
    made = []
    for listed in ({}, {"drop": {"ids": ["gardens:05.txt"]}}):
        rules = {"rulesets": ["gopher_quality"], **listed}
        with use_run(Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
            made.append(build_corpus(configuration(tmp_path / "documents", ingest=ingest, rules=rules)))
    before, after = ([part["key"] for part in corpus.kept.manifest()["parts"]] for corpus in made)
    assert len(before) == len(after) > 3
    [changed] = [at for at, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
    gone = [{row["id"] for row in rows("SELECT id FROM read_parquet(?)", asking.dropped(corpus))} for corpus in made]
    assert gone[1] - gone[0] == {"gardens:05.txt"}
    table = str(made[1].normalized.shards()[changed].path)
    assert rows("SELECT id FROM read_parquet(?) WHERE id = 'gardens:05.txt'", [table])


def test_views_of_documents_that_were_cut_otherwise_meanwhile(tmp_path: Path) -> None:
    write_documents(tmp_path / "documents")
    sources = configuration(tmp_path / "documents").ingest.model_dump(mode="json")["sources"]
    made = []
    for size in (12_000, 20_000):  # not normalised: the same documents are the same corpus, however they are cut
        ingest = {"sources": sources, "shards": {"max_bytes": size}}
        config = configuration(tmp_path / "documents", ingest=ingest, normalize={"enabled": False})
        with use_run(Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
            made.append(build_corpus(config))
        shutil.rmtree(tmp_path / "store" / "artifacts" / "filter_corpus")  # as gc may
    before, after = made
    assert len(before.normalized.shards()) != len(after.normalized.shards())
    assert before.decisions == after.decisions
    assert before.kept.digest == after.kept.digest
    with use_run(Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
        again = filter_corpus(NoConfig(), corpus=after.normalized, decisions=after.decisions, measured=[after.signals])
    for shard, decided in zip(again.shards(), after.decisions.shards(), strict=True):
        ids = "SELECT id FROM read_parquet(?)"
        views = rows(ids, [[str(shard.path), str(shard.path.with_name(DROPPED))]])
        assert {row["id"] for row in views} == {row["id"] for row in rows(ids, [str(decided.path)])}


def test_a_few_light_parts_are_not_sent_to_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise AssertionError("sent to the cluster")

    monkeypatch.setattr("tasks.running.parts.map_in_batches", refuse)
    store = Store(tmp_path)
    with use_run(Run(store, Resources(workers=1, threads=1), Display(quiet=True))):
        measured = signals(SignalsConfig(), corpus=pages())
    with use_run(Run(store, Resources(workers=1, threads=1, runner="dask"), Display(quiet=True))):
        assert judge(JudgeRequest(rulesets=()), signals=measured, scores=[]).counts()["passed"] > 0
        monkeypatch.setattr("tasks.running.parts.FEW_FOR_TASKS", 0)
        with pytest.raises(AssertionError, match="sent to the cluster"):
            judge(JudgeRequest(rulesets=(), drop=DocumentList(ids=("x",))), signals=measured, scores=[])


def test_what_does_not_fit_into_memory_never_lies_in_the_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spills: list[Path] = []

    def recorded(memory_limit: str, threads: int | None, spill: Path) -> duckdb.DuckDBPyConnection:
        spills.append(spill)
        return connect(memory_limit, threads, spill)

    monkeypatch.setattr("data_quality.judge.connect", recorded)
    monkeypatch.setattr("data_quality.perplexity.connect", recorded)
    with use_run(Run(Store(tmp_path), Resources(workers=1, threads=1), Display(quiet=True))):
        corpus = pages()
        scores = perplexity(PerplexityConfig(), corpus=corpus, reference=corpus, languages=[], reference_languages=[])
        judge(JudgeRequest(rulesets=()), signals=signals(SignalsConfig(), corpus=corpus), scores=[scores])
    assert [spill.parts[-2:] for spill in spills] == [(SCRATCH_DIRECTORY, "spill")] * 2
