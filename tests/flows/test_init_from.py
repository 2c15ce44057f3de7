"""Pretraining that goes on from a model: its folder is taken into the store, its tokenizer is used."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from flows.config.ladder import ModelConfig
from flows.config.loading import ConfigError
from flows.config.pipeline import PipelineConfig
from flows.corpus import build_corpus
from flows.ladder import build_models
from flows.pretrain import Pretrained, Tokens, build_pretrained, build_tokens, initial_model
from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Artifact, Store
from tests.tasks.tiny_corpus import configuration, write_documents

pytestmark = pytest.mark.heavy


def pretrained(config: PipelineConfig, store: Store) -> tuple[Tokens, Pretrained]:
    """Corpus, tokens and model of a config, without Prefect."""
    with use_run(Run(store, Resources(workers=1, threads=1), Display(quiet=True))):
        corpus = build_corpus(config)
        tokens = build_tokens(config, corpus)
        return tokens, build_pretrained(config, corpus, tokens)


def going_on_from(config: PipelineConfig, name: str, **changed: Any) -> PipelineConfig:
    section = config.pretrain.model_copy(update={"init_from": name, **changed})
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
    by_artifact_tokens, third = pretrained(going_on_from(config, first.model.name, document_mask=True), store)
    assert by_artifact_tokens.tokenizer == first.model
    for later in (second, third):
        assert later.model.counts()["valid_bits_per_byte"] < first.model.counts()["valid_bits_per_byte"]
    assert first_tokens.tokenizer.stage == "train_tokenizer"
    for made, mask in ((first, None), (third, True)):
        assert made.model.manifest()["config"]["settings"].get("document_mask") is mask
        assert made.evaluation.manifest()["config"].get("document_mask") is mask
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
    with pytest.raises(ConfigError, match=r"empty is no model's folder: .*config\.json is not there"):
        pretrained(config, Store(tmp_path / "store"))


SMALL: dict[str, dict[str, Any]] = {
    "gpt": {"preset": "pico"},
    "modern": {"preset": "pico", "optimizer": None, "schedule": None},
    "rnn": {"preset": "awd-lstm", "embedding": 12, "width": 16, "layers": 2, "stream": {"bptt": 8, "alpha": 2.0}},
    "nnlm": {"embedding": 6, "hidden": 8, "sequence": 16},
    "elmo": {"preset": "small", "width": 8, "layers": 1, "sequence": 8},
    "transformer_xl": {"preset": "xl-pico", "memory": 8, "stream": {"segment": 8}},
    "xlnet": {"preset": "xlnet-pico", "context": 32},
    "bert": {"layers": 1, "width": 16, "heads": 2, "context": 32, "segments": {"length": 32}},
}
OTHER: dict[str, dict[str, Any]] = {"gpt": {"layers": 3}, "rnn": {"width": 20}, "bert": {"width": 32}}
"""Sizes that the model to go on from has not: it is as that one."""


def one_model(documents: Path, kind: str, **changes: Any) -> ModelConfig:
    shared = configuration(documents).model_dump(
        exclude={"model", "pretrain", "task", "finetune", "evaluate", "refresh"}
    )
    train = {"steps": 2, "batch": 4, "eval_sequences": 4, "optimizer": {"learning_rate": 1e-9}, "device": "cpu"}
    tokenizer = {"elmo": {"kind": "word", "vocab_size": 300}, "bert": {"kind": "wordpiece", "vocab_size": 300}}
    if kind in tokenizer:
        shared["tokenizer"]["train"] = tokenizer[kind]
    model = {"kind": kind, **SMALL[kind], **changes.pop("model", {})}
    given = {**shared, "model": model, "train": train, "context": 16, "evaluate": {"sequences": 2}, **changes}
    return ModelConfig.model_validate(given)


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Store]]:
    root = tmp_path_factory.mktemp("mill")
    write_documents(root / "documents")
    yield root / "documents", Store(root / "store")
    pool.shut_down()


def made(config: ModelConfig, store: Store) -> Artifact:
    with use_run(Run(store, Resources(workers=1, threads=1), Display(quiet=True))):
        return build_models(config)[0][0]


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_every_kind_is_gone_on_from(kind: str, mill: tuple[Path, Store]) -> None:
    """At a rate of next to nothing it ends where it began: with the weights that it was given."""
    documents, store = mill
    first = made(
        one_model(documents, kind, train={"steps": 3, "batch": 4, "eval_sequences": 4, "device": "cpu"}), store
    )
    later = made(one_model(documents, kind, init_from=first.name, model=OTHER.get(kind, {})), store)
    assert [given["key"] for given in later.manifest()["inputs"]["init_from"]] == [first.key]
    fresh = made(one_model(documents, kind), store)
    begun, ended, random = (load_file(model.file("model.safetensors")) for model in (first, later, fresh))
    for name, tensor in begun.items():
        torch.testing.assert_close(ended[name], tensor, atol=1e-6, rtol=0)
    assert any(not torch.allclose(random[name], tensor, atol=1e-6) for name, tensor in begun.items())
    if kind == "rnn":  # from a folder, too
        folder = made(one_model(documents, kind, init_from=str(first.path)), store)
        assert folder.digest == later.digest


def test_what_cannot_be_gone_on_from_is_said(mill: tuple[Path, Store]) -> None:
    documents, store = mill
    first = made(one_model(documents, "gpt"), store)
    with pytest.raises(ConfigError, match=r"is of kind 'gpt' and the model of kind 'rnn': name one of the same kind"):
        made(one_model(documents, "rnn", init_from=first.name), store)
    with pytest.raises(ConfigError, match=r"has a context of \d+ tokens, less than the 256 of the test sequences"):
        made(one_model(documents, "gpt", init_from=first.name, context=256, model={"context": 256}), store)
    with pytest.raises(ConfigError, match="'pretrain' is a stage"):
        made(one_model(documents, "gpt", init_from="pretrain"), store)
    given = one_model(documents, "gpt").model_dump()
    with pytest.raises(ValueError, match="a model of kind ngram is made anew from all its text"):
        ModelConfig.model_validate({**given, "model": {"kind": "ngram", "order": 2}, "init_from": first.name})
