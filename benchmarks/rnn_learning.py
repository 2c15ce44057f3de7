"""What equal sizes of RNN, GRU and LSTM learn: `python -m benchmarks.rnn_learning [--cells gru] [--seeds 1]`.

Characters of tinyshakespeare below TEXTMILL_DATA, the first 90 % to train on and the last 10 % to score, as nanoGPT
cuts it. Truncated BPTT with carried state; the validation text is read in eight lanes, each from a state of zeros.
Prints a line of JSON for each run (bits per character of the validation text, seconds of this process, characters per
second), then a sample. With --directory a run that was killed goes on from its last checkpoint.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from lm.config import OptimizerConfig, TrainConfig
from lm.evaluate.recurrent import stream_bits_per_byte
from lm.generate_recurrent import generate_recurrent
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig, rnn_preset
from lm.objectives.recurrent import RecurrentObjective
from lm.order import draw_seed, in_order
from lm.streams import ArrayPieces, Lanes
from lm.train.hooks import Hooks
from lm.train.trainer import Trainer

LANES = 8


def characters() -> tuple[str, np.ndarray]:
    """The alphabet and the text as numbers in it."""
    if "TEXTMILL_DATA" not in os.environ:
        sys.exit("set TEXTMILL_DATA to the folder that holds labelled/tinyshakespeare")
    text = (Path(os.environ["TEXTMILL_DATA"]) / "labelled/tinyshakespeare/input.txt").read_text()
    alphabet = "".join(sorted(set(text)))
    numbers = {character: number for number, character in enumerate(alphabet)}
    return alphabet, np.array([numbers[character] for character in text])


def train(model: RNNLM, text: np.ndarray, options: argparse.Namespace, seed: int, directory: Path) -> dict[str, float]:
    """Train `model` in place; bits per character of the validation text and how long it took."""
    cut = int(0.9 * len(text))
    one_byte = np.ones(model.config.vocab, dtype=np.int64)
    watched = Lanes(ArrayPieces(text[cut:], options.bptt), LANES)
    config = TrainConfig(
        steps=options.steps,
        batch=options.batch,
        precision="fp32",
        seed=seed,
        optimizer=OptimizerConfig(learning_rate=options.rate, beta2=0.99, weight_decay=options.weight_decay),
        eval_interval=options.eval_interval,
        sample_interval=0,
        checkpoint_seconds=20,
    ).resolve_for(model.config.width, model.config.vocab, options.bptt)
    curve: list[tuple[int, float]] = []
    speeds: list[float] = []
    trainer = Trainer(
        model,
        RecurrentObjective(model.config.widths[-1], one_byte),
        Lanes(ArrayPieces(text[:cut], options.bptt), options.batch),
        config,
        options.steps,
        directory,
        evaluate=lambda m: stream_bits_per_byte(model, watched, one_byte),
        hooks=Hooks(
            on_evaluate=lambda step, figures: curve.append((step, round(figures["bits_per_byte"], 4))),
            on_metrics=lambda step, figures: speeds.append(figures["tokens_per_second"]),
        ),
        order=in_order,
    )
    start = time.perf_counter()
    trainer.run()
    seconds = time.perf_counter() - start
    bits = stream_bits_per_byte(model, watched, one_byte)["bits_per_byte"]
    return {
        "bits_per_character": round(bits, 4),
        "nats": round(bits * math.log(2), 4),
        "device": config.device,  # type: ignore[dict-item]
        "seconds": round(seconds, 1),
        "characters_per_second": round(float(np.median(speeds or [0.0]))),
        "curve": curve,  # type: ignore[dict-item]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="*", default=["elman", "gru", "lstm"])
    parser.add_argument("--seeds", type=int, nargs="*", default=[1])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--bptt", type=int, default=64)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--eval-interval", type=int, default=0)
    parser.add_argument("--directory", type=Path, help="where checkpoints are kept")
    parser.add_argument("--sample", type=int, default=600, help="characters of a sample")
    parser.add_argument("--width", type=int, help="of each cell, in place of one that makes sizes equal")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    alphabet, text = characters()
    for cell in options.cells:
        width = {} if options.width is None else {"width": options.width}
        config: RNNConfig = rnn_preset(f"char-{cell}", vocab=len(alphabet), **width)
        for seed in options.seeds:
            model = RNNLM(config, seed=draw_seed(seed, "init"))
            with tempfile.TemporaryDirectory() as temporary:
                folder = (options.directory or Path(temporary)) / f"{cell}-{seed}"
                figures = train(model, text, options, seed, folder)
            print(
                json.dumps(
                    {
                        "cell": cell,
                        "rate": options.rate,
                        "seed": seed,
                        "parameters": config.parameter_count(),
                        **figures,
                    }
                ),
                flush=True,
            )
        if options.sample:
            (new,) = generate_recurrent(model, [[alphabet.index("\n")]], options.sample, temperature=0.8, seed=0)
            print("".join(alphabet[number] for number in new), "\n---", flush=True)


if __name__ == "__main__":
    main()
