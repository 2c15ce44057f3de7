"""An LSTM as an ONNX graph against torch: `python -m benchmarks.onnx_speed [--rounds 7]`.

256 units, one layer, 4,096 tokens, with `reset_token`, for which torch has no kernel of its own. From tokens to logits
without a gradient, in onnxruntime and in torch, in turn, one thread each; seconds of the processor, medians. Needs the
extra `onnx`.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from lm.artifact import save_model
from lm.interop.onnx import export_onnx
from lm.interop.onnx_graph import GRAPH
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.tokenizer import train_tokenizer
from lm.tokenizers.config import ByteBPEConfig

SHAPES = ((1, 1), (1, 128), (16, 128))
VOCAB, WIDTH = 4096, 256


def used(call: Callable[[], object]) -> float:
    """Milliseconds of the processor."""
    start = time.process_time()
    call()
    return 1000 * (time.process_time() - start)


def medians(session: Any, model: RNNLM, shape: tuple[int, int], rounds: int) -> tuple[float, float]:
    """Milliseconds of onnxruntime and of torch, in turn, behind one of each that is not counted."""
    tokens = np.random.default_rng(0).integers(1, VOCAB, shape)
    given = {each.name: [n if isinstance(n, int) else shape[0] for n in each.shape] for each in session.get_inputs()}
    states = {name: np.zeros(axes, dtype=np.float32) for name, axes in given.items() if name != "tokens"}
    found = []
    with torch.no_grad():
        for _ in range(rounds + 1):
            theirs = used(lambda: session.run(None, {"tokens": tokens, **states}))
            found.append((theirs, used(lambda: model(torch.from_numpy(tokens)))))
    return statistics.median(a for a, _ in found[1:]), statistics.median(b for _, b in found[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        train_tokenizer([Path(__file__).read_text(encoding="utf-8")], ByteBPEConfig(vocab_size=VOCAB), work)
        model = RNNLM(RNNConfig(embedding=WIDTH, width=WIDTH, tied=True, reset_token=0, vocab=VOCAB)).eval()
        save_model(model, work, work / "model")
        export_onnx(work / "model", work / "onnx")
        session = onnxruntime.InferenceSession(str(work / "onnx" / GRAPH), settings, providers=["CPUExecutionProvider"])
        for shape in SHAPES:
            graph, torchs = medians(session, model, shape, options.rounds)
            row = {"shape": shape, "onnxruntime_ms": round(graph, 2), "torch_ms": round(torchs, 2)}
            print(json.dumps({**row, "ratio": round(torchs / graph, 2)}), flush=True)


if __name__ == "__main__":
    main()
