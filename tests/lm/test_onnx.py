"""ONNX graphs say what the models say, for any batch and length, in onnxruntime."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lm.artifact import save_model
from lm.config import GPTConfig
from lm.interop import onnx
from lm.models.gpt import GPT
from lm.models.modern import Modern
from lm.models.modern_config import ModernConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import rnn_preset
from lm.tokenizer import load_tokenizer

SIZE = {"layers": 2, "width": 16, "heads": 2, "context": 12, "vocab": 300}
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def saved(model: nn.Module, tokenizer_dir: Path, folder: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    save_model(model, tokenizer_dir, folder)
    return folder


@pytest.mark.parametrize("kind", ["gpt3", "modern"])
def test_a_graph_says_what_the_model_says(kind: str, tokenizer_dir: Path, tmp_path: Path) -> None:
    model = GPT(GPTConfig(**SIZE, band=3)) if kind == "gpt3" else Modern(ModernConfig(**SIZE))
    folder = saved(model, tokenizer_dir, tmp_path / "model")
    onnx.export_onnx(folder, tmp_path / "onnx")
    session = onnx.onnx_session(tmp_path / "onnx")
    tokens = np.random.default_rng(0).integers(0, 300, (5, 7))
    (got,) = session.run(None, {"tokens": tokens})
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(tokens)).numpy()
    assert np.abs(got - expected).max() <= 1e-4
    assert load_tokenizer(tmp_path / "onnx").get_vocab_size() == 300
    with torch.no_grad():
        model.token_embedding.weight.add_(torch.randn(300, 16))
    assert onnx.onnx_difference(model, tmp_path / "onnx") > 1e-2


def test_what_is_no_decoder_is_refused(tokenizer_dir: Path, tmp_path: Path) -> None:
    folder = saved(RNNLM(rnn_preset("small-lstm", vocab=300, embedding=8, width=8)), tokenizer_dir, tmp_path / "rnn")
    with pytest.raises(ValueError, match="kind 'rnn' is not written as ONNX; gpt and modern are"):
        onnx.export_onnx(folder, tmp_path / "out")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(onnx.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ImportError, match=r"onnx, onnxscript, onnxruntime: not installed; `pip install -e '\.\[onnx\]'`"
    ):
        onnx.export_onnx(tmp_path, tmp_path / "out")
