"""A store with a small corpus and models of it, and exams to put to them."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.config.exam import load_exam
from flows.exam import evaluate
from lm.ngram.config import NgramConfig
from lm.tokenizer import train_tokenizer
from lm.tokenizers.config import ByteBPEConfig
from lm.tokens import tokenize_shard
from lm.vectors.config import Word2VecConfig
from tasks.ngram import ngram
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.stage import NoConfig, Work, stage
from tasks.store import Artifact, Store
from tasks.vectors import word_vectors
from tests.lm.corpus import write_documents
from tests.lm.exam_models import PROSE

QUIET = Resources(workers=1, threads=1)


@stage(version=1)
def exam_corpus(work: Work, config: NoConfig) -> None:
    """One shard of documents."""
    texts = {f"doc-{n:02d}": f"{text} {PROSE[(n + 1) % 6]} Number {n} of them." for n, text in enumerate(PROSE * 5)}
    write_documents(work.directory / "00000.parquet", texts)
    work.shards = [{"path": "00000.parquet", "digest": "1", "counts": {}}]


@stage(version=1)
def exam_split(work: Work, config: NoConfig, *, corpus: Artifact) -> None:
    """All but the last six documents are trained on."""
    [shard] = corpus.shards()
    ids = pq.read_table(shard.path)["id"].to_pylist()
    splits = ["train" if n < 24 else "test" for n in range(len(ids))]
    pq.write_table(pa.table({"id": ids, "split": splits}), work.directory / "split.parquet")


@stage(version=1)
def exam_tokenizer(work: Work, config: NoConfig) -> None:
    """A tokenizer of the prose."""
    train_tokenizer(PROSE * 4, ByteBPEConfig(vocab_size=420), work.directory)


@stage(version=1)
def exam_tokens(work: Work, config: NoConfig, *, corpus: Artifact, tokenizer: Artifact) -> None:
    """The documents in tokens."""
    [shard] = corpus.shards()
    tokenize_shard(shard.path, work.directory / "tokens", tokenizer.path)
    work.shards = [{"path": "tokens.bin", "digest": "1", "counts": {}}]


def make_store(root: Path) -> None:
    """A store below `root` with a corpus and, by alias, two n-gram models of it (`one`, `three`) and word `vectors`."""
    store = Store(root / "store")
    with use_run(Run(store, QUIET, Display(quiet=True))):
        corpus, tokenizer = exam_corpus(NoConfig()), exam_tokenizer(NoConfig())
        tokens = exam_tokens(NoConfig(), corpus=corpus, tokenizer=tokenizer)
        given = {"tokens": tokens, "split": exam_split(NoConfig(), corpus=corpus), "tokenizer": tokenizer}
        for name, order in (("one", 1), ("three", 3)):
            store.set_alias(name, ngram(NgramConfig(order=order), **given))
        vectors = word_vectors(Word2VecConfig(kind="word2vec", dimensions=8, epochs=1, min_count=1, sample=0), **given)
        store.set_alias("vectors", vectors)


def write_exam(folder: Path, name: str, **exam: Any) -> str:
    """A YAML file (JSON is YAML); returns its path."""
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({"name": name, **exam}))
    return str(path)


def asked(model: str, *exams: str, **settings: str) -> dict[str, Any]:
    return evaluate(model, [load_exam(each, settings) for each in exams], QUIET, quiet=True)
