"""Pretraining end to end on a tiny corpus."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.artifact import initial_weights, load_model, save_model
from lm.config import OptimizerConfig, TrainConfig
from lm.interop.gpt2 import export_gpt2
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.pretrain import pretrain
from lm.pretraining import GPTPretraining
from lm.recipes.recipe import Given
from lm.stop import Interrupted
from lm.tokenizer import train_tokenizer
from lm.tokenizers.config import ByteBPEConfig
from lm.tokens import TokenIndex, build_index
from lm.train.hooks import Hooks

CONFIG = TrainConfig(
    steps=30,
    batch=8,
    precision="fp32",
    optimizer=OptimizerConfig(learning_rate=0.01),
    eval_interval=10,
    sample_interval=15,
    sample_tokens=5,
    sample_prompts=("the",),
    checkpoint_interval=10,
)


def part(shards: list[Path], valid: bool) -> TokenIndex:
    return build_index(
        shards,
        copies=lambda ids: np.array([i.endswith(("3", "7")) == valid for i in ids.to_pylist()], dtype=bool),
    )


@pytest.fixture
def inputs(shards: list[Path], tokenizer_dir: Path) -> dict[str, Any]:
    train, valid = part(shards, False), part(shards, True)
    size = GPTConfig(layers=1, width=32, heads=2, context=16, vocab=train.vocab)
    settings = GPTPretraining(model=size)
    config = settings.resolve(CONFIG)
    return {"train": train, "valid": valid, "tokenizer_dir": tokenizer_dir, "settings": settings, "config": config}


def test_a_model_is_trained_and_written(tmp_path: Path, inputs: dict[str, Any]) -> None:
    seen: dict[str, list[Any]] = {"evaluations": [], "samples": []}
    hooks = Hooks(
        on_evaluate=lambda s, f: seen["evaluations"].append((s, f["bits_per_byte"])),
        on_sample=lambda s, p, t: seen["samples"].append((s, p, t)),
    )
    result = pretrain(Given(**inputs), tmp_path / "c", tmp_path / "m", hooks)
    assert json.loads(json.dumps(result)) == result
    bits = {k: result[k]["bits_per_byte"] for k in ("valid", "unigram", "untrained")}
    assert bits["valid"] < bits["unigram"] < bits["untrained"]
    assert [s for s, _ in seen["evaluations"]] == [0, 10, 20, 30]
    assert seen["evaluations"][-1][1] == bits["valid"]
    assert seen["evaluations"][0][1] == bits["untrained"]
    assert [(s, p) for s, p, _ in seen["samples"]] == [(0, "the"), (15, "the"), (30, "the")]
    model, tokenizer = load_model(tmp_path / "m")
    assert model.config == inputs["settings"].model
    assert tokenizer.get_vocab_size() == model.config.vocab


def test_stopped_anywhere_the_model_folder_is_the_same(tmp_path: Path, inputs: dict[str, Any]) -> None:
    pretrain(Given(**inputs), tmp_path / "c1", tmp_path / "m1")
    polls = 0

    def should_stop() -> bool:
        nonlocal polls
        polls += 1
        return polls in (2, 9, 23, 40)  # in evaluations, samples and between steps

    stops = 0
    while True:
        try:
            pretrain(Given(**inputs, should_stop=should_stop), tmp_path / "c2", tmp_path / "m2")
            break
        except Interrupted:
            stops += 1
    assert stops == 4
    for file in (tmp_path / "m1").iterdir():
        assert file.read_bytes() == (tmp_path / "m2" / file.name).read_bytes()


@pytest.mark.parametrize("theirs", [False, True])
def test_it_goes_on_from_given_weights(tmp_path: Path, inputs: dict[str, Any], theirs: bool) -> None:
    start, write = GPT(inputs["settings"].model, seed=9), export_gpt2 if theirs else save_model
    write(start, inputs["tokenizer_dir"], tmp_path / "start")
    seen: list[float] = []
    short = inputs["config"].model_copy(update={"steps": 2})
    given = Given(**{**inputs, "config": short}, init_from=tmp_path / "start")
    hooks = Hooks(on_evaluate=lambda s, f: seen.append(f["bits_per_byte"]))
    pretrain(given, tmp_path / "c", tmp_path / "m", hooks)
    loaded = initial_weights(tmp_path / "start", inputs["settings"].model, inputs["tokenizer_dir"])
    assert (loaded["token_embedding.weight"] == start.token_embedding.weight).all()
    assert len(seen) == 2


def test_what_does_not_fit_is_refused(tmp_path: Path, inputs: dict[str, Any]) -> None:
    size = inputs["settings"].model
    save_model(GPT(size), inputs["tokenizer_dir"], tmp_path / "start")
    with pytest.raises(ValueError, match="layers 1 is not 2"):
        initial_weights(tmp_path / "start", size.model_copy(update={"layers": 2}), inputs["tokenizer_dir"])
    train_tokenizer(["other"] * 9, ByteBPEConfig(), tmp_path / "other")
    with pytest.raises(ValueError, match="has another tokenizer than"):
        initial_weights(tmp_path / "start", size, tmp_path / "other")
    with pytest.raises(ValueError, match="training tokens were made by another tokenizer"):
        Given(**{**inputs, "tokenizer_dir": tmp_path / "other"})
