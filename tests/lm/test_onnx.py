"""ONNX graphs say what the models say, for any batch and length, in onnxruntime."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lm.artifact import save_model
from lm.interop import onnx
from lm.interop.onnx_graphs import graphs_of
from lm.models.bert import Bert
from lm.models.bert_config import BertConfig
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.modern import Modern
from lm.models.modern_config import ModernConfig
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
from lm.nn.masks import Padding
from lm.nn.stateful import Stateful
from lm.padding import padded
from lm.tokenizer import load_tokenizer
from lm.translator import load_translator, save_translator

pytestmark = pytest.mark.heavy

SIZE = {"layers": 1, "width": 16, "heads": 2, "context": 90, "vocab": 300}
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def saved(model: nn.Module, tokenizer_dir: Path, folder: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    save_model(model, tokenizer_dir, folder)
    return folder


MODELS: dict[str, Callable[[], nn.Module]] = {
    "gpt3": lambda: GPT(GPTConfig(**SIZE, band=3)),
    "modern": lambda: Modern(ModernConfig(**SIZE)),
    "nnlm": lambda: NNLM(NNLMConfig(embedding=6, hidden=5, start_token=2, vocab=300)),
    "xlnet": lambda: XLNet(XLNetConfig(layers=1, width=16, heads=2, inner=20, context=90, vocab=300)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_graph_says_what_the_model_says(kind: str, tokenizer_dir: Path, tmp_path: Path) -> None:
    """Also beyond 64 positions, where torch computes attention in another way, and of one token."""
    model = MODELS[kind]()
    folder = saved(model, tokenizer_dir, tmp_path / "model")
    onnx.export_onnx(folder, tmp_path / "onnx")
    session = onnx.onnx_session(tmp_path / "onnx")
    for shape in ((5, 7), (1, 1), (2, 90)):
        tokens = np.random.default_rng(0).integers(0, 300, shape)
        (got,) = session.run(None, {"tokens": tokens})
        with torch.no_grad():
            expected = model.eval()(torch.from_numpy(tokens)).numpy()
        assert np.abs(got - expected).max() <= 1e-4
    assert load_tokenizer(tmp_path / "onnx").get_vocab_size() == 300
    [graph] = graphs_of(folder)
    with torch.no_grad():
        for p in graph.module.parameters():
            p.mul_(1.5)
    assert onnx.graph_difference(graph, tmp_path / "onnx") > 1e-2


STATEFUL: dict[str, Callable[[], Stateful]] = {
    "lstm": lambda: RNNLM(RNNConfig(embedding=8, width=12, layers=2, tied=True, reset_token=3, vocab=300)),
    "transformer_xl": lambda: TransformerXL(
        TransformerXLConfig(layers=1, width=12, heads=2, inner=16, memory=5, vocab=300)
    ),
}


@pytest.mark.parametrize("kind", STATEFUL)
def test_a_graph_reads_on_from_the_state_that_it_gave(kind: str, tokenizer_dir: Path, tmp_path: Path) -> None:
    """In pieces of any length, one token among them, as the model does; a token that resets the state does so."""
    model = STATEFUL[kind]()
    onnx.export_onnx(saved(model, tokenizer_dir, tmp_path / "model"), tmp_path / "onnx")
    session = onnx.onnx_session(tmp_path / "onnx")
    tokens = np.random.default_rng(0).integers(0, 6, (3, 100))  # 3 is often among them
    kinds = {"tensor(int64)": np.int64, "tensor(float)": np.float32}
    given = {each.name: np.zeros([3, *each.shape[1:]], kinds[each.type]) for each in session.get_inputs()[1:]}
    states, at = None, 0
    for length in (9, 1, 90):
        part, at = tokens[:, at : at + length], at + length
        got, *after = session.run(None, {"tokens": part, **given})
        with torch.no_grad():
            reading = model.eval().read(torch.from_numpy(part), states)
            expected, states = model.logits(reading.dropped).numpy(), reading.states
        assert np.abs(got - expected).max() <= 1e-4
        names = [each.name for each in session.get_outputs()[1:]]
        assert names == [name.replace("state.", "after.") for name in given]
        given = dict(zip(given, after, strict=True))
    if kind != "transformer_xl":
        with torch.no_grad():
            assert np.abs(got - model(torch.from_numpy(tokens)).numpy()[:, 10:]).max() <= 1e-4


@pytest.mark.parametrize("roberta", [False, True])
def test_a_bert_as_a_graph_fills_gaps_and_gives_states(roberta: bool, tokenizer_dir: Path, tmp_path: Path) -> None:
    kin = {"position_offset": 2, "segments": 1, "pair_head": False} if roberta else {}
    model = Bert(BertConfig(layers=1, width=16, heads=2, context=70, vocab=300, **kin))
    onnx.export_onnx(saved(model, tokenizer_dir, tmp_path / "model"), tmp_path / "onnx")
    session = onnx.onnx_session(tmp_path / "onnx")
    rng = np.random.default_rng(0)
    for batch, time in ((3, 66), (1, 4)):
        tokens, segments = rng.integers(0, 300, (batch, time)), rng.integers(0, 1 if roberta else 2, (batch, time))
        real = np.arange(time) < rng.integers(1, time + 1, (batch, 1))
        got = session.run(None, {"tokens": tokens, "segments": segments, "real": real})
        with torch.no_grad():
            mask = Padding(torch.from_numpy(real))
            hidden = model.eval().hidden_states(torch.from_numpy(tokens), torch.from_numpy(segments), mask)
            expected = [model.masked_logits(hidden), hidden, *([] if roberta else [model.pair_logits(hidden)])]
        assert len(got) == len(expected)
        assert all(np.abs(a - b.numpy()).max() <= 1e-4 for a, b in zip(got, expected, strict=True))


def test_a_transformer_translates_as_two_graphs(tokenizer_dir: Path, tmp_path: Path) -> None:
    """Greedily, token by token, what the model itself finds; sources of unequal length together."""
    size = {"layers": 1, "width": 16, "heads": 2, "feed_forward": 20, "source_vocab": 300, "target_vocab": 300}
    model = Transformer(TransformerConfig(**size))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    save_translator(model, tokenizer_dir, tokenizer_dir, tmp_path / "model")
    onnx.export_onnx(tmp_path / "model", tmp_path / "onnx")
    encoder, decoder = (onnx.onnx_session(tmp_path / "onnx", f"{side}.onnx") for side in ("encoder", "decoder"))
    translator = load_translator(tmp_path / "model")
    texts = ["the rose and the tide", "a", "harbours and roses and tides in the evening"]
    rows = translator.sources(texts)
    lengths = np.array([len(row) for row in rows])
    (memory,) = encoder.run(None, {"source": padded(rows, 5), "lengths": lengths})
    found = np.full((3, 1), translator.end)
    for _ in range(9):
        (logits,) = decoder.run(None, {"inputs": found, "memory": memory, "lengths": lengths})
        found = np.concatenate([found, logits[:, -1:].argmax(-1)], 1)
    inputs = torch.from_numpy(found[:, :-1])
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(padded(rows, 5)), torch.from_numpy(lengths), inputs).numpy()
    assert np.abs(logits - expected).max() <= 1e-4
    assert (expected.argmax(-1) == found[:, 1:]).all()
    assert load_tokenizer(tmp_path / "onnx" / "target").get_vocab_size() == 300


def test_a_recurrent_translator_writes_token_by_token(tokenizer_dir: Path, tmp_path: Path) -> None:
    """Sources of unequal length, read in both directions; each step looks at them again."""
    size = {"cell": "gru", "embedding": 6, "width": 5, "source_vocab": 300, "target_vocab": 300}
    model = Seq2Seq(Seq2SeqConfig(**size, bidirectional=True, attention="additive", initial_span=0.9), seed=2).eval()
    save_translator(model, tokenizer_dir, tokenizer_dir, tmp_path / "model")
    onnx.export_onnx(tmp_path / "model", tmp_path / "onnx")
    encoder, decoder = (onnx.onnx_session(tmp_path / "onnx", f"{side}.onnx") for side in ("encoder", "decoder"))
    rng, lengths = np.random.default_rng(0), np.array([70, 3, 1])
    source, target = rng.integers(0, 300, (3, 70)), rng.integers(0, 300, (3, 6))
    given = [each.name for each in decoder.get_inputs()[1:]]
    found = [each.name for each in encoder.get_outputs()]
    assert set(given) == {*found, "lengths"}
    known = dict(zip(found, encoder.run(None, {"source": source, "lengths": lengths}), strict=True))
    with torch.no_grad():
        expected = model(torch.from_numpy(source), torch.from_numpy(lengths), torch.from_numpy(target)).numpy()
    for step in range(6):
        logits, *after = decoder.run(None, {"token": target[:, step], "lengths": lengths, **known})
        assert np.abs(logits - expected[:, step]).max() <= 1e-4
        names = [each.name.replace("after.", "state.") for each in decoder.get_outputs()[1:]]
        known |= dict(zip(names, after, strict=True))


def test_what_has_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"kind": "elmo"}')
    with pytest.raises(ValueError, match=r"onnx holds models of kind nnlm, rnn, seq2seq, transformer, .* not 'elmo'"):
        onnx.export_onnx(tmp_path, tmp_path / "out")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(onnx.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ImportError, match=r"onnx, onnxscript, onnxruntime: not installed; `pip install -e '\.\[onnx\]'`"
    ):
        onnx.export_onnx(tmp_path, tmp_path / "out")
