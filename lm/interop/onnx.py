"""ONNX: a decoder as a graph that onnxruntime runs, tokens in and next-token logits out.

Needs the extra `onnx` (onnx, onnxscript to write; onnxruntime to check).
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lm.artifact import described, load_model, load_torch
from lm.generate import Decoder
from lm.models.modern import Modern
from lm.tokenizer import copy_tokenizer

GRAPH = "model.onnx"
OPSET = 20
TOLERANCE = 1e-4


class _Graph(nn.Module):
    """The model as ONNX sees it."""

    def __init__(self, model: Decoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        return self.model(tokens)


def export_onnx(folder: Path, out: Path) -> None:
    """Write `out/model.onnx` (tokens int64 [batch, time] to logits [batch, time, vocab], both sizes free), the
    configuration and the tokenizer, and check the graph's logits against the model's with onnxruntime.

    Raises ImportError without the extra, ValueError for a kind that is no decoder, RuntimeError if the graph says
    something else than the model.
    """
    if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]:
        raise ImportError(f"{', '.join(missing)}: not installed; `pip install -e '.[onnx]'`")
    model = _decoder(folder)
    out.mkdir(parents=True, exist_ok=True)
    length = min(model.config.context, 8)
    tokens = torch.zeros(2, length, dtype=torch.int64)
    batch, time = torch.export.Dim("batch", min=1), torch.export.Dim("time", min=1, max=model.config.context)
    torch.onnx.export(
        _Graph(model).eval(),
        (tokens,),
        out / GRAPH,
        dynamo=True,
        opset_version=OPSET,
        input_names=["tokens"],
        output_names=["logits"],
        dynamic_shapes={"tokens": {0: batch, 1: time}},
        external_data=False,
        verbose=False,
    )
    copy_tokenizer(folder, out)
    (out / "config.json").write_text(json.dumps(model.config.model_dump(mode="json"), indent=1) + "\n")
    largest = onnx_difference(model, out)
    if largest > TOLERANCE:
        (out / GRAPH).unlink()
        raise RuntimeError(f"{folder}: as ONNX its logits would be up to {largest:.2g} off the model's: not written")


def onnx_difference(model: Decoder, folder: Path) -> float:
    """The largest difference of logits on random tokens of several sizes, relative to the largest logit or 1."""
    session, worst = onnx_session(folder), 0.0
    context, generator = model.config.context, torch.Generator().manual_seed(0)
    for batch, time in ((1, 1), (3, min(5, context)), (2, context)):
        tokens = torch.randint(0, model.config.vocab, (batch, time), generator=generator)
        with torch.no_grad():
            expected = model(tokens).numpy()
        (got,) = session.run(None, {"tokens": tokens.numpy()})
        worst = max(worst, float(np.abs(got - expected).max()) / max(1.0, float(np.abs(expected).max())))
    return worst


def onnx_session(folder: Path) -> Any:
    """onnxruntime's session of an exported folder, on the CPU."""
    import onnxruntime

    return onnxruntime.InferenceSession(str(folder / GRAPH), providers=["CPUExecutionProvider"])


def _decoder(folder: Path) -> Decoder:
    kind = described(folder).get("kind", "gpt")
    if kind == "gpt":
        return load_model(folder)[0]
    if kind == "modern":
        return load_torch(folder, Modern)[0]
    raise ValueError(f"{folder}: a model of kind {kind!r} is not written as ONNX; gpt and modern are")
