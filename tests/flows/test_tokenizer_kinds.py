"""A pipeline with every kind of tokenizer, from the config to a model scored in bits per byte."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.config.pipeline import PipelineConfig
from flows.corpus import Corpus, build_corpus
from flows.pretrain import build_pretrained, build_tokens, trained_with
from lm.tokenizers.config import ByteBPEConfig, WordConfig
from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.storage.files import read_json
from tasks.store import Store
from tests.tasks.tiny_corpus import configuration, write_documents

KINDS: dict[str, dict[str, Any]] = {
    "character": {"kind": "character", "vocab_size": 400},
    "character-unk": {"kind": "character", "vocab_size": 20, "unknown": "unk"},
    "wordpiece": {"kind": "wordpiece", "vocab_size": 120},
    "unigram": {"kind": "unigram", "vocab_size": 400},
    "word": {"kind": "word", "vocab_size": 40, "min_frequency": 2},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Store]:
    root = tmp_path_factory.mktemp("kinds")
    write_documents(root / "documents")
    return root / "documents", Store(root / "store")


def build(config: PipelineConfig, store: Store) -> tuple[Corpus, Any, Any, list[str]]:
    with use_run(Run(store, Resources(workers=1, threads=1), Display(quiet=True))) as run:
        corpus = build_corpus(config)
        tokens = build_tokens(config, corpus)
        trained = build_pretrained(config, corpus, tokens)
    pool.shut_down()
    return corpus, tokens, trained, [r.stage for r in run.records if r.state == "built"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_pipeline_chooses_it(made: tuple[Path, Store], kind: str) -> None:
    documents, store = made
    config = configuration(documents, tokenizer={"train": KINDS[kind]})
    assert config.tokenizer.train.kind == KINDS[kind]["kind"]
    _, tokens, trained, _ = build(config, store)
    figures = read_json(trained.evaluation.path / "evaluation.json")
    assert 0 < figures["pretrained"]["bits_per_byte"] < figures["untrained"]["bits_per_byte"]
    has_unknown = kind in ("character-unk", "word")
    assert ("spelling_nats" in figures["pretrained"]) == has_unknown
    beside = [p for part in tokens.tokens.part_directories() for p in part.glob("tokens.spans.parquet")]
    assert bool(beside) == (has_unknown or kind == "wordpiece")
    assert trained.model.counts()["valid_bits_per_byte"] < trained.model.counts()["untrained_bits_per_byte"]
    assert "train_tokenizer" not in build(config, store)[3]  # cached now


def test_a_pinned_tokenizer_from_before_there_were_kinds_is_kept() -> None:
    def artifact(config: dict[str, Any]) -> Any:
        return SimpleNamespace(manifest=lambda: {"config": config})

    old = ByteBPEConfig(vocab_size=400).model_dump(mode="json", exclude={"kind"})
    assert trained_with(artifact(old), ByteBPEConfig(vocab_size=400))
    assert not trained_with(artifact(old), ByteBPEConfig(vocab_size=401))
    assert not trained_with(artifact(old), WordConfig(kind="word"))
    assert not trained_with(artifact({"folder": "an adopted model"}), ByteBPEConfig(vocab_size=400))
