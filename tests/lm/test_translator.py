"""A translator's folder, what it says of texts, and CoVe."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lm.models.cove import CoVe, cove_vectors
from lm.models.seq2seq import Seq2Seq
from lm.models.seq2seq_config import Seq2SeqConfig
from lm.stop import Interrupted
from lm.text_model import open_model
from lm.tokenizer import load_tokenizer, train_tokenizer
from lm.tokenizers.config import CharacterConfig
from lm.translator import Translator, build_model, load_translator, save_translator
from lm.translator_config import SearchConfig, TranslatorConfig
from tests.lm.letters import ATTENTIVE, RECURRENT, letter_tokenizer


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tokenizer of characters."""
    return letter_tokenizer(tmp_path_factory.mktemp("letters"))


@pytest.mark.parametrize("kind", [RECURRENT, ATTENTIVE], ids=["seq2seq", "transformer"])
def test_a_folder_holds_the_model_and_both_tokenizers(kind: dict[str, Any], letters: Path, tmp_path: Path) -> None:
    train_tokenizer(["ghij" * 3], CharacterConfig(kind="character", vocab_size=300), tmp_path / "other")
    config = TranslatorConfig.model_validate({"model": {**kind, "shared_embedding": False}}).model
    model = build_model(config.with_vocab(load_tokenizer(letters).get_vocab_size(), 300), seed=3)
    save_translator(model, letters, tmp_path / "other", tmp_path / "model")
    loaded = load_translator(tmp_path / "model")
    assert loaded.model.config == model.config
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in loaded.model.state_dict().items())
    assert loaded.source.get_vocab() == load_tokenizer(letters).get_vocab()
    assert loaded.target.get_vocab() == load_tokenizer(tmp_path / "other").get_vocab()
    with pytest.raises(ValueError, match=f"kind '{config.kind}' scores no text.*textmill translate"):
        open_model(tmp_path / "model")


def test_what_is_no_translator_is_refused(letters: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no model there"):
        load_translator(tmp_path)
    (tmp_path / "config.json").write_text('{"kind": "gpt"}')
    with pytest.raises(
        ValueError, match="a model of kind 'gpt' does not translate; seq2seq and transformer can be asked"
    ):
        load_translator(tmp_path)
    model = build_model(Seq2SeqConfig(embedding=4, width=4, source_vocab=300, target_vocab=5))
    save_translator(model, letters, letters, tmp_path / "small")
    with pytest.raises(ValueError, match=r"target: the tokenizer has \d+ tokens, the model 5"):
        load_translator(tmp_path / "small")


def test_translating_keeps_the_order_and_shows_its_alignment(letters: Path) -> None:
    tokenizer = load_tokenizer(letters)
    size = tokenizer.get_vocab_size()
    model = build_model(Seq2SeqConfig(**{**RECURRENT, "source_vocab": size, "target_vocab": size}))
    translator = Translator(model, tokenizer, tokenizer)
    texts = ["abc", "a", "fedcba", "", "bb"]
    search = SearchConfig(beam=2, extra=3, batch=2)
    told: list[int] = []
    found = translator.translate(texts, search, progress=told.append)
    assert found == [translator.translate([text], search)[0] for text in texts]
    assert sum(told) == 5
    source, target, weights = translator.align("abc", "de")
    assert (source[:3], target[:2]) == (["a", "b", "c"], ["d", "e"])
    assert weights.shape == (3, 4)
    assert weights.sum(1) == pytest.approx(np.ones(3), abs=1e-6)
    silent = build_model(Seq2SeqConfig(**{**RECURRENT, "attention": "none", "bidirectional": False}))
    with pytest.raises(ValueError, match="no attention: it looks at nothing"):
        Translator(silent, tokenizer, tokenizer).align("a", "b")
    with pytest.raises(Interrupted, match="translating"):
        translator.translate(texts, should_stop=lambda: True)


def test_cove_is_what_the_encoder_says_beside_the_words_own_vector(letters: Path) -> None:
    tokenizer = load_tokenizer(letters)
    size = tokenizer.get_vocab_size()
    config = Seq2SeqConfig(
        embedding=6,
        width=5,
        layers=2,
        source_vocab=size,
        target_vocab=size,
        bidirectional=True,
        attention="general",
        dropout=0.5,
    )
    model = build_model(config, seed=1)
    assert isinstance(model, Seq2Seq)
    stack = nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for layer, cells in enumerate(model.encoder.layers()):
            for direction, cell in cells.items():
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    suffix = f"{name}_l{layer}{'_reverse' if direction == 'backward' else ''}"
                    getattr(stack, suffix).copy_(getattr(cell, name))
    features = cove_vectors(Translator(model, tokenizer, tokenizer), ["abca", "f"])
    x = torch.tensor([[*tokenizer.encode("abca").ids, 0]])
    words = model.source_embedding(x)
    expected = torch.cat([words, stack(words)[0]], -1)[0, :4].detach()
    assert features[0] == pytest.approx(expected.numpy(), abs=1e-6)
    assert features[1].shape == (1, 16)
    assert (features[0][0, :6] == features[0][3, :6]).all()  # one word, one vector of its own
    assert not np.allclose(features[0][0, 6:], features[0][3, 6:])  # and another one in each place
    cove = CoVe(model).train()
    assert cove.width == 16
    assert not cove.model.training
    assert not any(p.requires_grad for p in cove.parameters())
    assert model.training  # the caller's model is left as it was
    assert all(p.requires_grad for p in model.parameters())
    given = torch.randn(1, 5, 3)
    both = cove(x, torch.tensor([5]), given)
    assert torch.equal(both[..., :3], given)
    assert both.shape == (1, 5, 13)
    with pytest.raises(ValueError, match="CoVe needs an encoder that has read both sides"):
        CoVe(Seq2Seq(Seq2SeqConfig(embedding=4, width=4)))
    transformer = build_model(TranslatorConfig.model_validate({"model": ATTENTIVE}).model)
    with pytest.raises(ValueError, match="CoVe needs a model of kind 'seq2seq', not 'transformer'"):
        cove_vectors(Translator(transformer, tokenizer, tokenizer), ["a"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cove_comes_from_a_gpu_as_from_the_cpu(letters: Path) -> None:
    tokenizer = load_tokenizer(letters)
    size = tokenizer.get_vocab_size()
    model = build_model(Seq2SeqConfig(**{**RECURRENT, "source_vocab": size, "target_vocab": size}))
    expected = cove_vectors(Translator(model, tokenizer, tokenizer), ["abca", "f"])
    found = cove_vectors(Translator(model.to("cuda"), tokenizer, tokenizer), ["abca", "f"])
    assert [row == pytest.approx(want, abs=1e-3) for row, want in zip(found, expected, strict=True)] == [True, True]
