"""The stages behind schedules, from tiny inputs: for tests/tasks/stage_versions.py."""

import pyarrow as pa
import pyarrow.parquet as pq

from lm.evaluate.decisions import DECISIONS
from tasks.change import ChangeConfig, corpus_change
from tasks.contest import ContestConfig, contest
from tasks.contest_documents import ContestDocumentsConfig, contest_documents
from tasks.stage import NoConfig, Work, stage
from tasks.store import Artifact
from tests.lm.corpus import write_documents
from tests.tasks.stages import NumbersConfig


@stage(version=1)
def dated_corpus(work: Work, config: NumbersConfig) -> None:
    """So many documents; the text of each tenth depends on the factor."""
    texts = {f"d{n:02d}": f"text {n}" + f" as of {config.factor}" * (n % 10 == 0) for n in range(config.count)}
    write_documents(work.directory / "00000.parquet", texts)
    work.shards = [{"path": "00000.parquet", "digest": str(config), "counts": {}}]


@stage(version=1)
def dated_split(work: Work, config: NoConfig, *, corpus: Artifact) -> None:
    """Each third document is a test document."""
    [shard] = corpus.shards()
    table = pq.read_table(shard.path)
    splits = ["test" if int(id[1:]) % 3 == 0 else "train" for id in table["id"].to_pylist()]
    pq.write_table(pa.table({"id": table["id"], "split": splits}), work.directory / "split.parquet")
    texts = zip(table["text"].to_pylist(), splits, strict=True)
    work.counts |= {
        "test": splits.count("test"),
        "train_bytes": sum(len(text) for text, where in texts if where == "train"),
    }


@stage(version=1)
def costs(work: Work, config: NumbersConfig) -> None:
    """What twelve documents cost a made-up model."""
    nats = [20.0 + (7 * n) % 5 - 3 * config.factor for n in range(12)]
    table = pa.table({"id": [f"d{n:02d}" for n in range(12)], "nats": nats, "bytes": [10 + n for n in range(12)]})
    pq.write_table(table, work.directory / DECISIONS)


def change_case() -> Artifact:
    before, after = (dated_corpus(NumbersConfig(count=n, factor=n)) for n in (40, 44))
    read = [before, dated_split(NoConfig(), corpus=before)]
    return corpus_change(ChangeConfig(above=0.1), corpus=after, split=dated_split(NoConfig(), corpus=after), read=read)


def contest_documents_case() -> Artifact:
    corpora = [dated_corpus(NumbersConfig(count=n, factor=n)) for n in (44, 40)]
    splits = [dated_split(NoConfig(), corpus=corpus) for corpus in corpora]
    return contest_documents(
        ContestDocumentsConfig(documents=8, least=2), corpus=corpora[0], corpora=corpora, split=splits
    )


def contest_case() -> Artifact:
    first, second = (costs(NumbersConfig(factor=factor)) for factor in (0, 1))
    return contest(ContestConfig(draws=100), champion=first, challenger=second)
