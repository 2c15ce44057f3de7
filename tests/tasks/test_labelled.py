"""The labelled set: what only chooses among its candidates makes none anew."""

from pathlib import Path

from flows.corpus import build_corpus
from lm.labelled.folder import LabelledSet
from lm.labelled.forms import Classification
from tasks.labelled import labelled
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store
from tests.tasks.tiny_corpus import configuration, write_documents


def test_another_number_of_examples_finds_the_candidates_again(tmp_path: Path) -> None:
    write_documents(tmp_path / "documents")
    config = configuration(tmp_path / "documents")
    assert config.task is not None
    store = Store(tmp_path / "store")
    with use_run(Run(store, Resources(workers=1, threads=1), Display(quiet=True))):
        corpus = build_corpus(config)
        first = labelled(config.task, corpus=corpus.kept, split=corpus.split)
        fewer = config.task.model_copy(update={"per_class": 2})
        second = labelled(fewer, corpus=corpus.kept, split=corpus.split)
        other = config.task.model_copy(update={"max_chars": config.task.max_chars - 1})
        third = labelled(other, corpus=corpus.kept, split=corpus.split)
    opened = LabelledSet(first.path)
    assert opened.task.ask == Classification(classes=tuple(c.name for c in config.task.classes))
    assert opened.read("train").num_rows == first.counts()["train"]
    assert opened.read("test").schema.names == ["id", "text", "text_b", "label"]
    assert second.counts()["train"] < first.counts()["train"]
    assert second.manifest()["parts"] == first.manifest()["parts"]
    assert third.manifest()["parts"] != first.manifest()["parts"]
