"""Speed of recurrent layers and of training them: `python -m benchmarks.rnn_speed [--rounds 7] [--threads 2]`.

First, one layer forwards and backwards: the cells written out, the gradient written out (`bptt`) and torch.nn's module,
in turn, with time relative to torch.nn's. Then training: our trainer (its checks, dropout seeds, bits per byte and
learning-rate schedule included; no checkpoint inside the measured steps) against a plain loop around torch.nn's module
of the same shape with the same data, AdamW and clipping. Medians of the rounds, fp32, and the smallest and largest
ratio of a round.
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
import torch
from torch import nn
from torch.nn import functional as F

from lm.config import OptimizerConfig, TrainConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.nn.recurrent import Path as LayerPath
from lm.nn.recurrent import Recurrent
from lm.objectives.recurrent import RecurrentObjective
from lm.order import in_order
from lm.streams import ArrayPieces, Lanes
from lm.train.trainer import Hooks, Trainer

TORCH: dict[str, Callable[..., nn.Module]] = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
LAYERS = [(32, 64, 64, 256), (32, 64, 256, 512), (20, 70, 400, 800)]
"""batch, time, inputs, width."""
SIZES = [("characters", 65, 64, 256, 1, 32, 64), ("subwords", 4096, 256, 400, 2, 16, 64)]
"""name, vocabulary, embedding, width, layers, batch, time."""
SKIPPED, MEASURED = 3, 12


def layer_seconds(rounds: int) -> None:
    for batch, steps, inputs, width in LAYERS:
        x = torch.randn(steps, batch, inputs)
        for cell, make in TORCH.items():
            paths: list[LayerPath] = ["cells", "bptt"]
            modules: dict[str, Any] = {path: Recurrent(cell, inputs, (width,), path=path) for path in paths}
            modules["torch.nn"] = make(inputs, width)
            seconds: dict[str, list[float]] = {name: [] for name in modules}
            for _ in range(rounds + 1):
                for name, module in modules.items():
                    start = time.perf_counter()
                    module(x)[0].sum().backward()
                    seconds[name].append(time.perf_counter() - start)
            middle = {name: statistics.median(s[1:]) for name, s in seconds.items()}
            shape = {"batch": batch, "time": steps, "inputs": inputs, "width": width, "cell": cell}
            milliseconds = {name: round(1e3 * s, 1) for name, s in middle.items()}
            ratio = {f"{n}/torch.nn": round(middle[n] / middle["torch.nn"], 2) for n in paths}
            print(json.dumps({**shape, "milliseconds": milliseconds, **ratio}), flush=True)


class Plain(nn.Module):
    """The usual model around torch.nn's module."""

    def __init__(self, cell: str, vocab: int, embedding: int, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, embedding)
        self.rnn = TORCH[cell](embedding, width, layers)
        self.head = nn.Linear(width, vocab)

    def forward(self, tokens: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        out, state = self.rnn(self.embedding(tokens), state)
        return self.head(out), state


def plain_loop(cell: str, text: np.ndarray, size: tuple[Any, ...]) -> float:
    """Seconds a step of the plain loop."""
    _, vocab, embedding, width, layers, batch, steps = size
    torch.manual_seed(0)
    model = Plain(cell, vocab, embedding, width, layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    lanes = torch.as_tensor(text[: len(text) // batch * batch]).view(batch, -1).t().contiguous()
    state: Any = None
    for step in range(SKIPPED + MEASURED):
        if step == SKIPPED:
            start = time.perf_counter()
        tokens, targets = lanes[step * steps : (step + 1) * steps], lanes[step * steps + 1 : (step + 1) * steps + 1]
        optimizer.zero_grad()
        logits, state = model(tokens, state)
        state = tuple(s.detach() for s in state) if cell == "lstm" else state.detach()
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()
    return (time.perf_counter() - start) / MEASURED


def our_trainer(cell: str, text: np.ndarray, size: tuple[Any, ...]) -> float:
    """Seconds a step of ours."""
    _, vocab, embedding, width, layers, batch, steps = size
    model = RNNLM(RNNConfig(cell=cell, embedding=embedding, width=width, layers=layers, vocab=vocab), seed=0)
    total = SKIPPED + MEASURED
    config = TrainConfig(
        steps=total,
        batch=batch,
        micro_batch=batch,
        precision="fp32",
        optimizer=OptimizerConfig(learning_rate=3e-3),
        eval_interval=0,
        sample_interval=0,
        checkpoint_seconds=0,
    ).resolve_for(width, vocab, steps)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        Trainer(
            model,
            RecurrentObjective(width, np.ones(vocab, dtype=np.int64)),
            Lanes(ArrayPieces(text, steps), batch),
            config,
            total,
            Path(directory),
            hooks=Hooks(on_progress=lambda *_: times.append(time.perf_counter())),
            order=in_order,
        ).run()
    return (times[-1] - times[SKIPPED - 1]) / MEASURED


def training(rounds: int) -> None:
    for size in SIZES:
        name, vocab, *_, batch, steps = size
        text = np.random.default_rng(0).integers(0, vocab, batch * (steps * (SKIPPED + MEASURED) + 1) + 1)
        for cell in TORCH:
            pairs = [(our_trainer(cell, text, size), plain_loop(cell, text, size)) for _ in range(rounds)]
            ours, plain = (statistics.median(side) for side in zip(*pairs, strict=True))
            ratios = sorted(theirs / mine for mine, theirs in pairs)
            print(
                json.dumps(
                    {
                        "training": name,
                        "cell": cell,
                        "tokens_per_second": {
                            "ours": round(batch * steps / ours),
                            "plain": round(batch * steps / plain),
                        },
                        "ratio": round(statistics.median(ratios), 2),
                        "ratios": [round(ratios[0], 2), round(ratios[-1], 2)],
                    }
                ),
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["layers", "training"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.only != "training":
        layer_seconds(options.rounds)
    if options.only != "layers":
        training(options.rounds)


if __name__ == "__main__":
    main()
