"""Transformer-XL and XLNet from token shards to a model folder, and that folder as its users see it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lm.artifact import load_torch, save_model
from lm.config import OptimizerConfig, TrainConfig
from lm.generate_stepwise import LeftStep, generate_stepwise
from lm.models.transformer_xl import TransformerXL
from lm.models.transformer_xl_config import TransformerXLConfig, TransformerXLStream
from lm.models.xlnet import XLNet
from lm.models.xlnet_config import PermutationConfig, XLNetConfig
from lm.pretrain import pretrain
from lm.pretraining import Pretraining, TransformerXLPretraining, XLNetPretraining
from lm.recipes.recipe import Given
from lm.sampling import Draw
from lm.stop import Interrupted
from lm.text_model import open_model
from lm.tokenizer import encode_documents, end_of_text_id, load_tokenizer
from lm.tokens import build_index

TEXTS = ["the rose and the tide", "", "a", "seed " * 60, "天地玄黄"]
XL = TransformerXLConfig(layers=2, width=32, heads=2, inner=64, memory=16, vocab=300)
NET = XLNetConfig(layers=2, width=32, heads=2, inner=64, context=16, vocab=300)
KINDS: dict[str, Pretraining] = {
    "transformer_xl": TransformerXLPretraining(model=XL, stream=TransformerXLStream(segment=16)),
    "xlnet": XLNetPretraining(model=NET, permutation=PermutationConfig(predict=3)),
    "xlnet-memory": XLNetPretraining(model=NET.model_copy(update={"memory": 16})),
}
CLASSES: dict[str, type[torch.nn.Module]] = {"transformer_xl": TransformerXL, "xlnet": XLNet}


def given(shards: list[Path], tokenizer_dir: Path, settings: Pretraining, **changes: Any) -> Given:
    index = build_index(shards)
    steps = changes.pop("steps", 60)
    config = TrainConfig(
        steps=steps,
        batch=8,
        eval_sequences=32,
        precision="fp32",
        optimizer=OptimizerConfig(learning_rate=0.01),
        sample_tokens=6,
        checkpoint_interval=5,
    )
    return Given(settings, settings.resolve(config), index, index, tokenizer_dir, **changes)


@pytest.mark.parametrize("name", KINDS)
def test_it_is_trained_and_written(tmp_path: Path, shards: list[Path], tokenizer_dir: Path, name: str) -> None:
    settings = KINDS[name]
    result = pretrain(given(shards, tokenizer_dir, settings), tmp_path / "c", tmp_path / "m")
    bits = {k: result[k]["bits_per_byte"] for k in ("valid", "unigram", "untrained")}
    assert bits["unigram"] < bits["untrained"]
    assert bits["valid"] < (0.9 if name == "transformer_xl" else 1.0) * bits["untrained"]
    if name == "transformer_xl":
        assert bits["valid"] < bits["unigram"]
    else:
        assert result["valid"]["permutation_loss"] < 0.8 * result["untrained"]["permutation_loss"]
    assert result["valid"]["bytes"] == result["unigram"]["bytes"]
    assert result["parameters"] == settings.model.parameter_count()
    model, _ = load_torch(tmp_path / "m", CLASSES[settings.kind])
    assert model.config == settings.model


@pytest.mark.parametrize("name", KINDS)
def test_stopped_anywhere_the_folder_is_the_same(
    tmp_path: Path, shards: list[Path], tokenizer_dir: Path, name: str
) -> None:
    pretrain(given(shards, tokenizer_dir, KINDS[name], steps=12), tmp_path / "c1", tmp_path / "m1")
    polls = 0

    def should_stop() -> bool:
        nonlocal polls
        polls += 1
        return polls in (2, 9, 23, 40)  # in evaluations, samples and between steps

    stops = 0
    while True:
        try:
            again = given(shards, tokenizer_dir, KINDS[name], steps=12, should_stop=should_stop)
            pretrain(again, tmp_path / "c2", tmp_path / "m2")
            break
        except Interrupted:
            stops += 1
    assert stops == 4
    for file in (tmp_path / "m1").iterdir():
        assert file.read_bytes() == (tmp_path / "m2" / file.name).read_bytes()


def sharp_folder(tmp_path: Path, tokenizer_dir: Path, model: torch.nn.Module) -> Path:
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())) * 0.3)
    save_model(model, tokenizer_dir, tmp_path / "model")
    return tmp_path / "model"


def test_a_transformer_xl_scores_each_token_behind_its_memory(tmp_path: Path, tokenizer_dir: Path) -> None:
    """With a memory as long as the text: behind all before it, as in one pass."""
    vocab = load_tokenizer(tokenizer_dir).get_vocab_size()
    config = XL.model_copy(update={"memory": 400, "vocab": vocab})
    folder = sharp_folder(tmp_path, tokenizer_dir, TransformerXL(config))
    model, tokenizer = load_torch(folder, TransformerXL)
    end = end_of_text_id(tokenizer)
    for text, score in zip(TEXTS, open_model(folder).score(TEXTS), strict=True):
        ids = torch.tensor([[end, *encode_documents(tokenizer, [text])[0].tolist()]])
        expected = 0.0
        if ids.shape[1] > 1:
            with torch.no_grad():
                logs = model(ids[:, :-1]).double().log_softmax(-1)
            expected = -float(logs[0].gather(1, ids[0, 1:, None]).sum())
        assert score.nats == pytest.approx(expected, rel=1e-4)
        assert (score.tokens, score.bytes) == (ids.shape[1] - 1, len(text.encode()))
    again = open_model(folder)
    assert again.kind == "transformer_xl"
    assert again.generate("the", 8, seed=3) == open_model(folder).generate("the", 8, seed=3)
    assert again.generate("the", 8, seed=3) != again.generate("the", 8, seed=4)


def test_an_xlnet_scores_from_left_to_right(tmp_path: Path, tokenizer_dir: Path) -> None:
    """Token by token, each from a query that stands behind what came before."""
    vocab = load_tokenizer(tokenizer_dir).get_vocab_size()
    folder = sharp_folder(tmp_path, tokenizer_dir, XLNet(NET.model_copy(update={"context": 400, "vocab": vocab})))
    model, tokenizer = load_torch(folder, XLNet)
    end = end_of_text_id(tokenizer)
    for text, score in zip(TEXTS[:3], open_model(folder).score(TEXTS[:3]), strict=True):
        ids = [end, *encode_documents(tokenizer, [text])[0].tolist()]
        expected = 0.0
        for place in range(1, len(ids)):
            with torch.no_grad():
                causal = torch.ones(place + 1, place + 1, dtype=torch.bool).tril(-1)
                read = model.read(torch.tensor([[*ids[:place], 0]]), causal, torch.tensor([[place]]))
                assert read.query is not None
                expected -= float(model.logits(read.query)[0, 0].double().log_softmax(-1)[ids[place]])
        assert score.nats == pytest.approx(expected, rel=1e-4)
    assert [s.tokens for s in open_model(folder).score(TEXTS)][3] > 100
    opened = open_model(folder)
    assert opened.kind == "xlnet"
    assert opened.generate("the", 8, seed=3) == open_model(folder).generate("the", 8, seed=3)
    assert opened.generate("the", 8, seed=3) != opened.generate("the", 8, seed=4)


def test_an_xlnet_generates_what_is_likeliest_and_within_its_context() -> None:
    model = XLNet(NET.model_copy(update={"context": 6}), seed=2).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(6)
    greedy = Draw(temperature=0)
    got = list(generate_stepwise(LeftStep(model), [3, 1], 9, greedy))
    text = [3, 1]
    for _ in range(9):
        text.append(int(model(torch.tensor([text[-5:]]))[0, -1].argmax()))
    assert got == text[2:]
    assert list(generate_stepwise(LeftStep(model), [3, 1], 9, greedy, stop=got[4])) == got[: got.index(got[4])]
    with pytest.raises(ValueError, match="needs at least one token"):
        next(generate_stepwise(LeftStep(model), [], 3, greedy))
    with pytest.raises(Interrupted, match="generating"):
        next(generate_stepwise(LeftStep(model), [1], 3, greedy, should_stop=lambda: True))


def test_a_distribution_over_all_texts(tokenizer_dir: Path) -> None:
    """XLNet's left-to-right probabilities of all continuations of a token sum to one."""
    model = XLNet(XLNetConfig(layers=2, width=8, heads=2, inner=8, context=8, vocab=3), seed=1).double().eval()
    texts = torch.tensor(np.stack(np.meshgrid([0, 1, 2], [0, 1, 2], [0, 1, 2])).reshape(3, -1).T)
    rows = torch.cat([torch.zeros(27, 1, dtype=torch.int64), texts], 1)
    log_p = model(rows[:, :-1]).log_softmax(-1).gather(-1, rows[:, 1:, None]).sum((1, 2))
    assert float(log_p.detach().exp().sum()) == pytest.approx(1.0, abs=1e-12)
