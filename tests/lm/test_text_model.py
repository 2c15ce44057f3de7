"""One door to models of every kind: scores against sums of single log-probabilities, texts from the same draw."""

import json
import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from lm.artifact import CONFIGS, load_model, load_torch, save_model
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.ngram.build import build_ngram, build_word_ngram
from lm.ngram.config import NgramConfig
from lm.ngram.model import load_ngram
from lm.pretrain import RECIPES
from lm.pretraining import Pretraining
from lm.streams import ArrayPieces
from lm.text_model import TEXTS as FACES
from lm.text_model import open_model
from lm.texts.decoder import DecoderText
from lm.texts.stateful import StatefulText
from lm.tokenizer import encode_documents, end_of_text_id, load_tokenizer

TEXTS = ["the rose and the tide", "", "a", "seed " * 90, "天地玄黄"]


@pytest.fixture
def gpt_folder(tmp_path: Path, tokenizer_dir: Path) -> Path:
    vocab = load_tokenizer(tokenizer_dir).get_vocab_size()
    model = GPT(GPTConfig(layers=2, width=16, heads=2, context=12, vocab=vocab), seed=1)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(8)
    save_model(model, tokenizer_dir, tmp_path / "gpt")
    return tmp_path / "gpt"


@pytest.fixture
def rnn_folder(tmp_path: Path, tokenizer_dir: Path) -> Path:
    vocab = load_tokenizer(tokenizer_dir).get_vocab_size()
    model = RNNLM(RNNConfig(cell="gru", embedding=8, width=12, vocab=vocab, initial_span=0.8), seed=1)
    save_model(model, tokenizer_dir, tmp_path / "rnn")
    return tmp_path / "rnn"


@pytest.fixture
def ngram_folder(tmp_path: Path, tokenizer_dir: Path, documents: dict[str, str]) -> Path:
    ids = encode_documents(load_tokenizer(tokenizer_dir), list(documents.values()))
    build_ngram(ids, tokenizer_dir, NgramConfig(order=3), tmp_path / "ngram")
    return tmp_path / "ngram"


def test_a_gpt_scores_every_token_once_behind_at_least_half_a_context(gpt_folder: Path) -> None:
    model, tokenizer = load_model(gpt_folder)
    end, context = end_of_text_id(tokenizer), model.config.context
    for text, score in zip(TEXTS, open_model(gpt_folder).score(TEXTS), strict=True):
        ids = [end, *encode_documents(tokenizer, [text])[0].tolist()]
        nats = 0.0
        for place in range(1, len(ids)):
            if place <= context:
                begin = 0
            else:  # windows end at context, then every half context further, or at the end of the text
                window_end = min(len(ids) - 1, context + math.ceil((place - context) / (context // 2)) * (context // 2))
                begin = window_end - context
            with torch.no_grad():
                logits = model(torch.tensor([ids[begin:place]]))[0, -1].double()
            nats -= float(logits.log_softmax(-1)[ids[place]])
            assert place - begin >= min(place, context // 2)
        assert (score.tokens, score.bytes) == (len(ids) - 1, len(text.encode()))
        assert score.nats == pytest.approx(nats, rel=1e-4)


def test_a_recurrent_model_scores_every_token_behind_all_before_it(rnn_folder: Path) -> None:
    model, tokenizer = load_torch(rnn_folder, RNNLM)
    end = end_of_text_id(tokenizer)
    for text, score in zip(TEXTS, open_model(rnn_folder).score(TEXTS), strict=True):
        ids = torch.tensor([[end, *encode_documents(tokenizer, [text])[0].tolist()]])
        with torch.no_grad():
            logs = model(ids[:, :-1]).double().log_softmax(-1) if ids.shape[1] > 1 else torch.zeros(1, 0, 1)
        nats = -float(logs[0].gather(1, ids[0, 1:, None]).sum()) if ids.shape[1] > 1 else 0.0
        assert score.nats == pytest.approx(nats, rel=1e-4)
        assert (score.tokens, score.bytes) == (ids.shape[1] - 1, len(text.encode()))


def test_carried_from_sequence_to_sequence_they_cost_what_one_long_text_costs(rnn_folder: Path) -> None:
    model = open_model(rnn_folder)
    assert isinstance(model, StatefulText)
    [text] = encode_documents(model.tokenizer, ["the rose and the tide " * 9])
    pieces = ArrayPieces([end_of_text_id(model.tokenizer), *text], 7)
    for limit in (1, 5):
        carried, apart = (ask(pieces, limit) for ask in (model.carried_bits_per_byte, model.bits_per_byte))
        assert carried["nats"] == pytest.approx(float(model.token_nats([text[: 7 * limit]])[0].sum()), rel=1e-5)
        assert (carried["bytes"], carried["tokens"]) == (apart["bytes"], apart["tokens"])
        assert (carried["nats"] == pytest.approx(apart["nats"])) is (limit == 1)


def test_an_ngram_model_scores_what_it_says_of_each_token(ngram_folder: Path) -> None:
    model = load_ngram(ngram_folder)
    for text, score in zip(TEXTS, open_model(ngram_folder).score(TEXTS), strict=True):
        ids = model.encode(text).tolist()
        nats = -sum(model.log_prob([model.boundary, *ids[:at]], ids[at]) for at in range(len(ids)))
        assert score.nats == pytest.approx(nats)
        assert (score.tokens, score.bytes) == (len(ids), len(text.encode()))


@pytest.mark.parametrize("folder", ["gpt_folder", "rnn_folder", "ngram_folder"])
def test_what_is_scored_together_is_scored_as_alone(folder: str, request: pytest.FixtureRequest) -> None:
    model = open_model(request.getfixturevalue(folder))
    together = model.score(TEXTS)
    for text, score in zip(TEXTS, together, strict=True):
        [alone] = model.score([text])
        assert alone.nats == pytest.approx(score.nats, rel=1e-5)


@pytest.mark.parametrize("folder", ["gpt_folder", "rnn_folder", "ngram_folder"])
def test_the_seed_decides_the_text(folder: str, request: pytest.FixtureRequest) -> None:
    model = open_model(request.getfixturevalue(folder))
    texts = [model.generate("the rose", 12, temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_models_that_give_bytes_no_probability_say_so(tmp_path: Path) -> None:
    build_word_ngram(["a b c", "a b d"], NgramConfig(order=2), tmp_path / "words")
    [score] = open_model(tmp_path / "words").score(["a b z"])
    assert (score.tokens, score.bytes) == (3, 0)
    build_word_ngram(["a b c"], NgramConfig(order=2, smoothing="stupid_backoff"), tmp_path / "stupid")
    with pytest.raises(ValueError, match="stupid_backoff gives scores that do not sum to one"):
        open_model(tmp_path / "stupid").score(["a"])


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json: no model there"):
        open_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"kind": "classifier"}))
    with pytest.raises(ValueError, match=r"kind 'classifier' scores no text; ngram, nnlm, .* can be asked"):
        open_model(tmp_path)


def test_nothing_is_scored_for_no_texts(gpt_folder: Path, ngram_folder: Path) -> None:
    assert open_model(gpt_folder).score([]) == open_model(ngram_folder).score([]) == []
    assert np.isfinite([score.nats for score in open_model(gpt_folder).score(TEXTS)]).all()


def test_a_text_is_the_mean_of_its_states(gpt_folder: Path) -> None:
    opened = open_model(gpt_folder)
    assert isinstance(opened, DecoderText)
    texts = ["the cat", "", "a longer text of the cat " * 30]
    vectors = opened.embed(texts)
    model, tokenizer = load_model(gpt_folder)
    assert vectors.shape == (3, model.config.width)
    assert not vectors[1].any()
    for text, vector in ((texts[0], vectors[0]), (texts[2], vectors[2])):
        ids = [end_of_text_id(tokenizer), *encode_documents(tokenizer, [text])[0].tolist()][: model.config.context]
        with torch.no_grad():
            expected = model.hidden_states(torch.tensor([ids]))[0, 1:].mean(0).numpy()
        assert np.allclose(vector, expected, atol=1e-5)


def test_a_kind_is_in_all_tables() -> None:
    """A new kind has a recipe, a folder, and a face for its users; a forgotten one would show as another error."""
    trained = {cls.model_fields["kind"].default for cls in get_args(get_args(Pretraining)[0])}
    foldered = {settings.model_fields["kind"].default for settings in CONFIGS.values()}
    assert trained == set(RECIPES) == foldered == set(FACES)


def test_a_hugging_face_folder_that_must_be_imported_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="of type 'bert': `textmill import` it first"):
        open_model(tmp_path)
