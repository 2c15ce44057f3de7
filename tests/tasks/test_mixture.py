"""The mixture reaches training: a document is read as often as it was drawn, and no test document is."""

from pathlib import Path

from flows.corpus import build_corpus
from flows.pretrain import build_tokens
from tasks.pretrain import split_index
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.running.tables import rows
from tasks.store import Store
from tests.tasks.tiny_corpus import configuration, write_documents


def test_training_documents_come_as_often_as_they_were_drawn(tmp_path: Path) -> None:
    write_documents(tmp_path / "documents")
    mixture = {"enabled": True, "weights": {"gardens": 3, "harbours": 1}}
    config = configuration(tmp_path / "documents", mixture=mixture)
    with use_run(Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
        corpus = build_corpus(config)
        tokens = build_tokens(config, corpus)
    [drawn] = corpus.mixture
    [wanted] = rows(
        "SELECT sum(copies)::BIGINT AS copies, count(*) AS documents FROM read_parquet($split) s "
        "JOIN read_parquet($copies) c USING (id) WHERE s.split = 'train'",
        {"split": str(corpus.split.file("split.parquet")), "copies": str(drawn.file("copies.parquet"))},
    )
    train = split_index(tokens.tokens, corpus.split, "train", drawn)
    assert len(train) == wanted["copies"] > wanted["documents"]
    assert len(split_index(tokens.tokens, corpus.split, "train")) == wanted["documents"]
