"""How far back recurrent cells remember: `python -m benchmarks.rnn_memory [--distance 100] [--seeds 1 2 3]`.

A sequence begins with one of eight symbols, goes on with `distance` - 1 random ones of eight others and asks: the model
is to answer with the first. Chance is 12.5 %. Equal widths, the state zero before each sequence, gradients through all
of it. Prints, for each cell and seed, the accuracy on 2,000 fresh sequences and how many steps it took to reach 99 %;
and, before and after, |d h_T / d h_0| (Frobenius norm, mean of 4 sequences) by distance.
"""

import argparse
import json
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lm.config import OptimizerConfig, ScheduleConfig, TrainConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.objectives.causal import IGNORE
from lm.objectives.recurrent import RecurrentObjective
from lm.order import draw_seed, in_order
from lm.stop import Interrupted
from lm.streams import RESET
from lm.train.hooks import Hooks
from lm.train.trainer import Trainer

SYMBOLS, QUESTION = 8, 16


class Recall:
    """Endless fresh sequences: what is number n follows from n and the seed."""

    def __init__(self, distance: int, seed: int) -> None:
        self.distance, self.seed = distance, seed
        self.fingerprint = f"recall {distance} {seed}"

    def __len__(self) -> int:
        return 1_000_000

    def batch(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        draw = np.random.default_rng([self.seed, int(indices[0])])
        tokens = draw.integers(SYMBOLS, 2 * SYMBOLS, (len(indices), self.distance + 2))
        tokens[:, 0] = tokens[:, -1] = draw.integers(0, SYMBOLS, len(indices))
        tokens[:, -2] = QUESTION
        targets = np.full((len(indices), self.distance + 1), IGNORE)
        targets[:, -1] = tokens[:, -1]
        return {
            "tokens": torch.as_tensor(tokens),
            "targets": torch.as_tensor(targets),
            RESET: torch.ones(len(indices), dtype=torch.bool),
        }


def accuracy(model: nn.Module, examples: Recall, count: int) -> float:
    tokens = examples.batch(np.arange(10**9, 10**9 + count))["tokens"].to(next(model.parameters()).device)
    with torch.no_grad():
        answers = model(tokens[:, :-1])[:, -1].argmax(-1)
    return float((answers == tokens[:, -1]).float().mean())


def gradient_norms(model: RNNLM, examples: Recall, distances: list[int]) -> list[float]:
    """|d h_T / d h_0| for each T, h the output of the only layer; of a model on the CPU (in eval mode cuDNN has no
    gradients)."""
    tokens = examples.batch(np.arange(10**8, 10**8 + 4))["tokens"]
    norms = []
    for distance in distances:
        states = {name: s.requires_grad_() for name, s in model.recurrent.new_states(4).items()}
        last = model.read(tokens[:, :distance], states).outputs[:, -1]
        h = states["0.forward.h"]
        rows = [torch.autograd.grad(last[:, i].sum(), h, retain_graph=True)[0] for i in range(last.shape[1])]
        norms.append(float(torch.stack(rows, 1).flatten(1).norm(dim=1).mean()))
    return norms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--distance", type=int, default=100)
    parser.add_argument("--cells", nargs="*", default=["elman", "gru", "lstm"])
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--width", type=int, default=48)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--forget-bias", type=float, default=1.0, help="of LSTMs, at the start")
    parser.add_argument("--clip", type=float, default=1.0, help="largest gradient norm, 0 for none")
    options = parser.parse_args()
    torch.set_num_threads(1)
    distances = [d for d in (1, 2, 5, 10, 20, 50, 100) if d <= options.distance]
    for cell in options.cells:
        for seed in options.seeds:
            config = RNNConfig(
                cell=cell,
                embedding=16,
                width=options.width,
                vocab=2 * SYMBOLS + 1,
                forget_bias=options.forget_bias,
            )
            model, examples = RNNLM(config, seed=draw_seed(seed, "init")), Recall(options.distance, seed)
            before = gradient_norms(model, examples, distances)
            train = TrainConfig(
                steps=options.steps,
                batch=32,
                clip=options.clip,
                precision="fp32",
                seed=seed,
                optimizer=OptimizerConfig(learning_rate=options.rate, weight_decay=0.0),
                schedule=ScheduleConfig(shape="constant", warmup_steps=20),
                eval_interval=50,
                sample_interval=0,
                checkpoint_seconds=0,
            ).resolve_for(options.width, config.vocab, options.distance)
            reached: list[int] = []

            def evaluate(_model: nn.Module, model: RNNLM = model, examples: Recall = examples) -> dict[str, float]:
                return {"accuracy": accuracy(model, examples, 500)}

            def note(step: int, figures: dict[str, float], reached: list[int] = reached) -> None:
                if figures["accuracy"] >= 0.99:
                    reached.append(step)

            with tempfile.TemporaryDirectory() as directory:
                trainer = Trainer(
                    model,
                    RecurrentObjective(options.width),
                    examples,
                    train,
                    options.steps,
                    Path(directory),
                    evaluate=evaluate,
                    best_metric=None,
                    hooks=Hooks(on_evaluate=note),
                    should_stop=lambda reached=reached: len(reached) > 1,
                    order=in_order,
                )
                with suppress(Interrupted):  # once it has learned the task
                    trainer.run()
            after = gradient_norms(model.cpu(), examples, distances)
            shown = {
                "before": [f"{norm:.1e}" for norm in before],
                "after": [f"{norm:.1e}" for norm in after],
            }
            row = {"cell": cell, "seed": seed, "steps_to_99": reached[0] if reached else None}
            row["accuracy"] = accuracy(model, examples, 2000)
            print(json.dumps({**row, "distances": distances, **shown}), flush=True)


if __name__ == "__main__":
    main()
