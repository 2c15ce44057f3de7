"""What is asked of a corpus that another machine built: its parts are fetched when they are needed."""

from pathlib import Path
from typing import Any

import pytest

from flows.commands.artifacts import show
from flows.commands.diff import diff
from flows.commands.forget import forget
from flows.commands.trace import trace
from flows.commands.tune import tune
from flows.commands.why import why
from flows.corpus import build_corpus
from tasks.cards.data import corpora
from tasks.lineage.ancestors import ancestors
from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.storage.shared import open_store
from tasks.store import Artifact
from tests.tasks.tiny_corpus import configuration, write_documents


def stages(answer: dict[str, Any]) -> set[str]:
    return {row["artifact"].partition("/")[0] for row in answer["data"]}


def read_before(kept: Artifact) -> list[tuple[str, int]]:
    """The sources on a model's card, with their documents."""
    store = open_store()
    [corpus] = corpora(store, ancestors(store, store.resolve(kept.name)))
    return [(row["source"], row["documents"]) for row in corpus["sources"]]


def test_another_machine_can_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_documents(tmp_path / "documents")
    monkeypatch.setenv("TEXTMILL_STORE", f"file://{tmp_path / 'shared'}")
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "builder"))
    with use_run(Run(open_store(), Resources(workers=1, threads=1), Display(quiet=True))):
        corpus = build_corpus(configuration(tmp_path / "documents"))
        read_before_here = read_before(corpus.kept)
    pool.shut_down()
    for number, ask in enumerate(
        (
            lambda: diff(corpus.kept.name, corpus.kept.name, None, 3)["changes"] == [],
            lambda: tune(corpus.kept.name, {"gopher_quality.gopher_short_doc": 60.0}, None, 2)["documents"] > 0,
            lambda: {"ingest", "filter_corpus"} <= stages(trace("gardens:00.txt")),
            lambda: not any("collected" in step["note"] for step in show(corpus.kept.name)["lineage"]),
            lambda: read_before(corpus.kept) == read_before_here,
            lambda: len(forget(["gardens:copy.txt"], [], "", with_twins=False, unseen=False)["twins"]) == 3,
            lambda: why("gardens:short.txt", corpus.kept.name)["reason"] == "gopher_quality.gopher_short_doc",
        )
    ):
        monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / f"asker-{number}"))
        assert ask()
