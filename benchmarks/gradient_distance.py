"""How far a gradient reaches, and what a longer text costs: `python -m benchmarks.gradient_distance [--picture FILE]`.

For an Elman network, an LSTM (its forget gate at a bias of 1 and of 5) and a GPT, all of width 64: |d h_T / d x_1|, the
Frobenius norm of the derivative of the last output by the first symbol's vector, at distances T - 1 of 1 to 255,
before and after 150 steps of 32 x 64 characters of tinyshakespeare; mean of 8 texts (C8, C9, C19). Then the CPU
seconds of one forward pass by length, one text at a time, median of 25, in turn.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks._small_runs import gpt, shakespeare, train
from lm.models.gpt import GPT
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.order import draw_seed

DISTANCES = (1, 2, 4, 8, 16, 32, 64, 128, 255)
LENGTHS = (16, 64, 256, 1024)
VECTORS = 16
WIDTH = 64


def models(vocab: int, context: int = 256) -> dict[str, nn.Module]:
    def recurrent(cell: str, forget_bias: float = 1.0) -> RNNLM:
        config = RNNConfig(cell=cell, embedding=WIDTH, width=WIDTH, vocab=vocab, forget_bias=forget_bias)  # type: ignore[arg-type]
        return RNNLM(config, seed=draw_seed(1, "init"))

    return {
        "Elman": recurrent("elman"),
        "LSTM, forget bias 1": recurrent("lstm"),
        "LSTM, forget bias 5": recurrent("lstm", 5.0),
        "attention (GPT, 2 layers)": gpt(vocab, 2, WIDTH, context, heads=2),
    }


def reach(model: nn.Module, tokens: Tensor) -> float:
    """|d h_T / d x_1|_F of texts [batch, T], estimated by random directions v: E |J' v|^2 = |J|_F^2."""
    seen: list[Tensor] = []
    if isinstance(model, GPT):
        handle = model.token_embedding.register_forward_hook(lambda _m, _i, output: seen.append(output))
        last = model.hidden_states(tokens)[:, -1]
    else:
        assert isinstance(model, RNNLM)
        handle = model.recurrent.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
        last = model.read(tokens).outputs[:, -1]
    handle.remove()
    draw, squares = torch.Generator().manual_seed(0), torch.zeros(len(tokens), dtype=torch.float64)
    for _ in range(VECTORS):
        v = torch.randn(last.shape, generator=draw)
        (gradient,) = torch.autograd.grad(last, seen[0], v, retain_graph=True)
        first = gradient[:, 0] if isinstance(model, GPT) else gradient[0]
        squares += first.double().square().sum(-1) / VECTORS
    return float(squares.sqrt().mean())


def curve(model: nn.Module, text: np.ndarray) -> list[float]:
    starts = np.arange(8) * 4000
    model.eval()
    return [reach(model, torch.as_tensor(np.stack([text[s : s + d + 1] for s in starts]))) for d in DISTANCES]


def draw_picture(curves: dict[str, dict[str, list[float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "textmill"  # the same bytes for the same figures
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for axis, (when, lines) in zip(axes, curves.items(), strict=True):
        for (name, values), style in zip(lines.items(), ("-o", "-s", "-^", "-D"), strict=True):
            axis.loglog(DISTANCES, np.maximum(np.array(values) / values[0], 1e-20), style, label=name, markersize=3)
        axis.set_title(when)
        axis.set_xlabel("distance in characters")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("|∂h_T / ∂x_1| relative to distance 1")
    axes[0].set_ylim(1e-12, 1e2)
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def forward_seconds(vocab: int) -> None:
    made, times = models(vocab, max(LENGTHS)), {}
    for length in LENGTHS:
        tokens = torch.randint(0, vocab, (1, length), generator=torch.Generator().manual_seed(0))
        for _ in range(25):
            for name, model in made.items():
                with torch.no_grad():
                    start = time.process_time()
                    model.eval()(tokens)
                    times.setdefault((name, length), []).append(time.process_time() - start)
    for name in made:
        row = {length: round(1e3 * float(np.median(times[name, length])), 2) for length in LENGTHS}
        print(json.dumps({"model": name, "milliseconds_by_length": row}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, help="an SVG file to write")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds-only", action="store_true", help="only the forward passes")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train_text, valid_text, vocab = shakespeare()
    if options.seconds_only:
        forward_seconds(vocab)
        return
    curves: dict[str, dict[str, list[float]]] = {"before training": {}, f"after {options.steps} steps": {}}
    for name, model in models(vocab).items():
        before = curve(model, valid_text)
        rate = 3e-3
        figures = train(model, train_text, valid_text[:20_000], context=64, steps=options.steps, batch=32, rate=rate)
        after = curve(model, valid_text)
        for values, lines in zip((before, after), curves.values(), strict=True):
            lines[name] = values
        shown = {"before": [f"{v:.1e}" for v in before], "after": [f"{v:.1e}" for v in after]}
        print(json.dumps({"model": name, "distances": DISTANCES, **shown, **figures}), flush=True)
    if options.picture:
        draw_picture(curves, options.picture)
    forward_seconds(vocab)


if __name__ == "__main__":
    main()
