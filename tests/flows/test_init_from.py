"""Pretraining that goes on from a model: its folder is taken into the store, its tokenizer is used."""

from pathlib import Path

import pytest

from flows.config import PipelineConfig
from flows.corpus import build_corpus
from flows.loading import ConfigError
from flows.pretrain import Pretrained, Tokens, build_pretrained, build_tokens, initial_model
from tasks import pool
from tasks.progress import Display
from tasks.run import Resources, Run, use_run
from tasks.store import Store
from tests.tasks.tiny_corpus import configuration, write_documents


def pretrained(config: PipelineConfig, store: Store) -> tuple[Tokens, Pretrained]:
    """Corpus, tokens and model of a config, without Prefect."""
    with use_run(Run(store, Resources(workers=1, threads=1), Display(quiet=True))):
        corpus = build_corpus(config)
        tokens = build_tokens(config, corpus)
        return tokens, build_pretrained(config, corpus, tokens)


def going_on_from(config: PipelineConfig, name: str) -> PipelineConfig:
    section = config.pretrain.model_copy(update={"init_from": name})
    return config.model_copy(update={"pretrain": section})


def test_it_goes_on_from_a_hugging_face_folder_and_from_an_artifact(tmp_path: Path) -> None:
    from lm.artifact import load_model
    from lm.interop.gpt2 import export_gpt2

    write_documents(tmp_path / "documents")
    config = configuration(tmp_path / "documents")
    store = Store(tmp_path / "store")
    first_tokens, first = pretrained(config, store)
    model, _ = load_model(first.model.path)
    export_gpt2(model, first.model.path, tmp_path / "gpt2")

    tokens, second = pretrained(going_on_from(config, str(tmp_path / "gpt2")), store)
    assert tokens.tokenizer.stage == "adopt_model"
    by_artifact_tokens, third = pretrained(going_on_from(config, first.model.name), store)
    assert by_artifact_tokens.tokenizer == first.model
    for later in (second, third):
        assert later.model.counts()["valid_bits_per_byte"] < first.model.counts()["valid_bits_per_byte"]
    assert first_tokens.tokenizer.stage == "train_tokenizer"
    pool.shut_down()


def test_a_stage_is_no_model_to_go_on_from(tmp_path: Path) -> None:
    config = going_on_from(configuration(tmp_path), "pretrain")
    with (
        use_run(Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))),
        pytest.raises(ConfigError, match="'pretrain' is a stage, and its newest artifact changes with every run"),
    ):
        initial_model(config)


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_documents(tmp_path / "documents")
    config = going_on_from(configuration(tmp_path / "documents"), str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match=r"empty/config\.json"):
        pretrained(config, Store(tmp_path / "store"))
