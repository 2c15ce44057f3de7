"""What is asked of a corpus that another machine built: its parts are fetched when they are needed."""

from pathlib import Path

import pytest

from flows.corpus import build_corpus
from flows.diff import diff
from flows.tune import tune
from flows.why import why
from tasks import pool
from tasks.progress import Display
from tasks.run import Resources, Run, use_run
from tasks.shared import open_store
from tests.tasks.tiny_corpus import configuration, write_documents


def test_another_machine_can_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_documents(tmp_path / "documents")
    monkeypatch.setenv("TEXTMILL_STORE", f"file://{tmp_path / 'shared'}")
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "builder"))
    with use_run(Run(open_store(), Resources(workers=1, threads=1), Display(quiet=True))):
        corpus = build_corpus(configuration(tmp_path / "documents"))
    pool.shut_down()
    for number, ask in enumerate(
        (
            lambda: diff(corpus.kept.name, corpus.kept.name, None, 3)["changes"] == [],
            lambda: tune(corpus.kept.name, {"gopher_quality.gopher_short_doc": 60.0}, None, 2)["documents"] > 0,
            lambda: why("gardens:short.txt", corpus.kept.name)["reason"] == "gopher_quality.gopher_short_doc",
        )
    ):
        monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / f"asker-{number}"))
        assert ask()
