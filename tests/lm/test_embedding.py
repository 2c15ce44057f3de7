"""Vectors of texts from each kind of model, against what its own module gives, text by text."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lm.artifact import load_torch, save_model
from lm.embedding import open_embedder
from lm.models.cove import CoVe
from lm.models.nnlm import NNLM
from lm.models.nnlm_config import NNLMConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.models.seq2seq import Seq2Seq
from lm.models.seq2seq_config import Seq2SeqConfig
from lm.models.transformer import Transformer
from lm.models.transformer_config import TransformerConfig
from lm.models.transformer_xl import TransformerXL
from lm.models.transformer_xl_config import TransformerXLConfig
from lm.models.xlnet import XLNet
from lm.models.xlnet_config import XLNetConfig
from lm.stop import Interrupted
from lm.tokenizer import encode_documents, end_of_text_id, load_tokenizer, train_tokenizer
from lm.tokenizers.config import WordConfig
from lm.translator import save_translator
from lm.vectors.artifact import load_vectors

TEXTS = ["the tide", "", "seed " * 60, "a rose and the harbour"]
VOCAB = 300


def sharp(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator))
    return model.eval()


def saved(model: nn.Module, tokenizer_dir: Path, folder: Path) -> Path:
    save_model(sharp(model), tokenizer_dir, folder)
    return folder


def translator(model: Seq2Seq | Transformer, tokenizer_dir: Path, folder: Path) -> Path:
    sharp(model)
    save_translator(model, tokenizer_dir, tokenizer_dir, folder)
    return folder


def ids_of(tokenizer_dir: Path, text: str) -> list[int]:
    return [int(i) for i in encode_documents(load_tokenizer(tokenizer_dir), [text])[0]]


STATEFUL = {
    "gru": lambda: RNNLM(RNNConfig(cell="gru", embedding=8, width=12, vocab=VOCAB)),
    "transformer_xl": lambda: TransformerXL(
        TransformerXLConfig(layers=2, width=12, heads=2, inner=16, memory=7, vocab=VOCAB)
    ),
}


@pytest.mark.parametrize("name", STATEFUL)
def test_a_text_is_the_mean_of_the_states_that_read_it(name: str, tokenizer_dir: Path, tmp_path: Path) -> None:
    """Read in one go with an unlimited segment, or as the memory of a Transformer-XL cuts it."""
    model = STATEFUL[name]()
    found = open_embedder(saved(model, tokenizer_dir, tmp_path / name))(TEXTS)
    end, segment = end_of_text_id(load_tokenizer(tokenizer_dir)), 64 if name == "transformer_xl" else 10_000
    assert found.words == found.known == [len(ids_of(tokenizer_dir, text)) for text in TEXTS]
    for text, vector in zip(TEXTS, found.vectors, strict=True):
        tokens, states, outputs = torch.tensor([[end, *ids_of(tokenizer_dir, text)]]), None, []
        with torch.no_grad():
            for part in tokens.split(segment, 1):
                reading = model.read(part, states)
                states, _ = reading.states, outputs.append(reading.outputs[0])
        expected = torch.cat(outputs)[1:].mean(0) if tokens.shape[1] > 1 else torch.zeros(12)
        np.testing.assert_allclose(vector, expected.numpy(), atol=1e-5)


def test_xlnet_reads_the_whole_text_within_its_context(tokenizer_dir: Path, tmp_path: Path) -> None:
    model = XLNet(XLNetConfig(layers=2, width=12, heads=2, inner=16, context=20, vocab=VOCAB))
    found = open_embedder(saved(model, tokenizer_dir, tmp_path / "xlnet"))(TEXTS)
    end = end_of_text_id(load_tokenizer(tokenizer_dir))
    for text, vector in zip(TEXTS, found.vectors, strict=True):
        ids = ids_of(tokenizer_dir, text)[:19]
        with torch.no_grad():
            content = model.read(torch.tensor([[end, *ids]])).content[0, 1:]
        expected = content.mean(0).numpy() if ids else np.zeros(12)
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_nnlm_gives_the_rows_of_c_and_their_neighbours(tokenizer_dir: Path, tmp_path: Path) -> None:
    model = NNLM(NNLMConfig(embedding=6, hidden=5, vocab=VOCAB))
    folder = saved(model, tokenizer_dir, tmp_path / "nnlm")
    vectors, tokenizer = load_vectors(folder), load_tokenizer(tokenizer_dir)
    c = model.C.detach().numpy()
    [id] = {i for i in ids_of(tokenizer_dir, "a the") if tokenizer.decode([i]) == " the"}
    np.testing.assert_array_equal(vectors.vector("the"), c[id])
    cosines = c @ c[id] / np.linalg.norm(c, axis=1) / np.linalg.norm(c[id])
    order = [i for i in np.argsort(-cosines) if tokenizer.decode([int(i)]).strip() and i not in (id, 0)]
    nearest, cosine = vectors.neighbours("the", 1)[0]
    assert vectors.vocabulary.rows[nearest] == vectors.row(nearest)
    assert cosine == pytest.approx(float(cosines[order[0]]), abs=1e-6)
    found = open_embedder(folder)(TEXTS)
    ids = ids_of(tokenizer_dir, TEXTS[0])
    np.testing.assert_allclose(found.vectors[0], c[ids].mean(0), atol=1e-6)
    assert not found.vectors[1].any()


def test_a_word_with_two_tokens_has_one_vector(tmp_path: Path) -> None:
    train_tokenizer(
        ["the tide the tide\nthe tide"], WordConfig(kind="word", vocab_size=20, min_frequency=1), tmp_path / "words"
    )
    vocab = load_tokenizer(tmp_path / "words").get_vocab_size()
    folder = saved(NNLM(NNLMConfig(embedding=4, hidden=3, vocab=vocab)), tmp_path / "words", tmp_path / "nnlm")
    vectors = load_vectors(folder)
    assert set(vectors.words) == {"the", "tide"}
    assert [name for name, _ in vectors.neighbours("tide", 5)] == ["the"]


def test_a_recurrent_translator_gives_cove(tokenizer_dir: Path, tmp_path: Path) -> None:
    settings = {"embedding": 6, "width": 5, "source_vocab": VOCAB, "target_vocab": VOCAB, "attention": "general"}
    model = Seq2Seq(Seq2SeqConfig(**settings, bidirectional=True))
    found = open_embedder(translator(model, tokenizer_dir, tmp_path / "both"))(TEXTS)
    end = end_of_text_id(load_tokenizer(tokenizer_dir))
    assert found.vectors.shape == (4, 6 + 10)
    for text, vector in zip(TEXTS, found.vectors, strict=True):
        ids = [*ids_of(tokenizer_dir, text), end]
        with torch.no_grad():
            features = CoVe(model)(torch.tensor([ids]), torch.tensor([len(ids)]))[0, :-1]
        expected = features.mean(0).numpy() if len(ids) > 1 else np.zeros(16)
        np.testing.assert_allclose(vector, expected, atol=1e-5)
    one_way = translator(Seq2Seq(Seq2SeqConfig(**settings)), tokenizer_dir, tmp_path / "one")
    with pytest.raises(ValueError, match="one: CoVe needs an encoder that has read both sides of a word"):
        open_embedder(one_way)


def test_a_transformer_gives_its_encoders_states(tokenizer_dir: Path, tmp_path: Path) -> None:
    size = {"layers": 1, "width": 8, "heads": 2, "feed_forward": 8}
    model = Transformer(TransformerConfig(**size, source_vocab=VOCAB, target_vocab=VOCAB))
    found = open_embedder(translator(model, tokenizer_dir, tmp_path / "transformer"))(TEXTS)
    ids = [*ids_of(tokenizer_dir, TEXTS[3]), end_of_text_id(load_tokenizer(tokenizer_dir))]
    with torch.no_grad():
        states = model.encode(torch.tensor([ids]), torch.tensor([len(ids)]))[0, :-1]
    np.testing.assert_allclose(found.vectors[3], states.mean(0).numpy(), atol=1e-5)
    assert not found.vectors[1].any()


def test_embedding_can_be_stopped(tokenizer_dir: Path, tmp_path: Path) -> None:
    folder = saved(STATEFUL["gru"](), tokenizer_dir, tmp_path / "gru")
    with pytest.raises(Interrupted):
        open_embedder(folder, should_stop=lambda: True)(TEXTS)
    assert isinstance(load_torch(folder, RNNLM)[0], RNNLM)
