"""Speed of recurrent layers and of training them: `python -m benchmarks.rnn_speed [--rounds 15] [--threads 2]`.

First, one layer forwards and backwards: the cells written out, the gradient written out (`bptt`) and torch.nn's module,
in turn, with time relative to torch.nn's. Then training: our trainer (its checks, dropout seeds, bits per byte and
learning-rate schedule included) against a plain loop around torch.nn's module of the same shape with the same data,
AdamW and clipping, a step of the one and a step of the other in turn. fp32; medians, and the quartiles of the ratio.
With `--threads 1` seconds are those of the processor.
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
from lm.train.hooks import Hooks
from lm.train.trainer import Trainer

TORCH: dict[str, Callable[..., nn.Module]] = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
LAYERS = [(32, 64, 64, 256), (32, 64, 256, 512), (20, 70, 400, 800)]
"""batch, time, inputs, width."""
SIZES = [("characters", 65, 64, 256, 1, 32, 64), ("subwords", 4096, 256, 400, 2, 16, 64)]
"""name, vocabulary, embedding, width, layers, batch, time."""
SKIPPED = 3


def clock() -> float:
    """Seconds: of the wall, or, with one thread, of the processor, which other work on the machine blurs less."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


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
                    start = clock()
                    module(x)[0].sum().backward()
                    seconds[name].append(clock() - start)
            shape = {"batch": batch, "time": steps, "inputs": inputs, "width": width, "cell": cell}
            milliseconds = {name: round(1e3 * statistics.median(s[1:]), 1) for name, s in seconds.items()}
            ratio = {
                f"{n}/torch.nn": round(
                    statistics.median(a / b for a, b in zip(seconds[n][1:], seconds["torch.nn"][1:], strict=True)), 2
                )
                for n in paths
            }
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


class PlainLoop:
    """A plain loop, one step at a call."""

    def __init__(self, cell: str, text: np.ndarray, size: tuple[Any, ...]) -> None:
        _, vocab, embedding, width, layers, batch, self.steps = size
        torch.manual_seed(0)
        self.model = Plain(cell, vocab, embedding, width, layers)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-3)
        self.lanes = torch.as_tensor(text[: len(text) // batch * batch]).view(batch, -1).t().contiguous()
        self.state: Any = None
        self.done = 0

    def step(self) -> None:
        start, end = self.done * self.steps, (self.done + 1) * self.steps
        tokens, targets = self.lanes[start:end], self.lanes[start + 1 : end + 1]
        self.optimizer.zero_grad()
        logits, state = self.model(tokens, self.state)
        self.state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        loss.item()
        self.done += 1


def paired_steps(cell: str, text: np.ndarray, size: tuple[Any, ...], steps: int) -> list[tuple[float, float]]:
    """Seconds of each step of (our trainer, the plain loop), one after the other in turn."""
    _, vocab, embedding, width, layers, batch, length = size
    model = RNNLM(RNNConfig(cell=cell, embedding=embedding, width=width, layers=layers, vocab=vocab), seed=0)
    config = TrainConfig(
        steps=steps,
        batch=batch,
        micro_batch=batch,
        device="cpu",
        precision="fp32",
        optimizer=OptimizerConfig(learning_rate=3e-3),
        eval_interval=0,
        sample_interval=0,
        checkpoint_seconds=0,
    ).resolve_for(width, vocab, length)
    plain, pairs, began = PlainLoop(cell, text, size), [], [clock()]

    def turn(*_: int) -> None:
        """Between two steps of ours, one of the plain loop."""
        ours = clock()
        plain.step()
        theirs = clock()
        pairs.append((ours - began[0], theirs - ours))
        began[0] = clock()

    with tempfile.TemporaryDirectory() as directory:
        Trainer(
            model,
            RecurrentObjective(width, np.ones(vocab, dtype=np.int64)),
            Lanes(ArrayPieces(text, length), batch),
            config,
            steps,
            Path(directory),
            hooks=Hooks(on_progress=turn),
            order=in_order,
        ).run()
    return pairs[SKIPPED:]


def training(steps: int) -> None:
    for size in SIZES:
        name, vocab, *_, batch, length = size
        text = np.random.default_rng(0).integers(0, vocab, batch * (length * steps + 1) + 1)
        for cell in TORCH:
            pairs = paired_steps(cell, text, size, steps)
            ours, plain = (statistics.median(side) for side in zip(*pairs, strict=True))
            low, middle, high = statistics.quantiles([theirs / mine for mine, theirs in pairs], n=4)
            row = {
                "training": name,
                "cell": cell,
                "tokens_per_second": {"ours": round(batch * length / ours), "plain": round(batch * length / plain)},
                "ratio": round(middle, 2),
                "quartiles": [round(low, 2), round(high, 2)],
            }
            print(json.dumps(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="of the layers")
    parser.add_argument("--steps", type=int, default=60, help="of training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["layers", "training"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.only != "training":
        layer_seconds(options.rounds)
    if options.only != "layers":
        training(options.steps)


if __name__ == "__main__":
    main()
