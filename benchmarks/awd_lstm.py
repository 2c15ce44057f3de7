"""What AWD-LSTM's regularisation is worth: `python -m benchmarks.awd_lstm --work FOLDER [--models awd]`.

plain   an LSTM of two layers, its head tied to the embedding
zaremba the same with dropout on vectors, between layers and before the head, anew at each step (Zaremba et al. 2014)
awd     the same with what Merity et al. (2017) put together: locked dropout, DropConnect on the recurrence, whole
        tokens dropped, AR and TAR, segments of random length; the preset's rates of dropout times --strength

Equal sizes, tokens and AdamW (not the paper's averaged SGD, which wants hundreds of epochs). tinyshakespeare below
TEXTMILL_DATA under a byte-level BPE: the first --characters to train on, epoch after epoch, the last tenth in two
halves. Of all evaluations the one that is best on the first half is taken, and its figure on the second half given. A
line of JSON for each; a run that was stopped goes on from its last checkpoint.
"""

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks._small_runs import LANES, data
from lm.config import OptimizerConfig, TrainConfig
from lm.evaluate.recurrent import stream_bits_per_byte
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNN_PRESETS, RNNConfig, StreamConfig
from lm.objectives.recurrent import RecurrentObjective
from lm.order import draw_seed, in_order
from lm.streams import ArrayPieces, Lanes, RandomLanes
from lm.tokenizer import encode_documents, load_tokenizer, token_byte_lengths, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig
from lm.train.hooks import Hooks
from lm.train.trainer import Trainer

DROPOUTS = ("input_dropout", "hidden_dropout", "output_dropout", "embedding_dropout", "weight_dropout")
BPTT = 35


def settings(name: str, strength: float) -> tuple[dict[str, Any], StreamConfig]:
    """What is switched on, beside the sizes."""
    if name == "plain":
        return {}, StreamConfig(bptt=BPTT)
    if name == "zaremba":
        rate = 0.5 * strength
        return {"input_dropout": rate, "hidden_dropout": rate, "output_dropout": rate}, StreamConfig(bptt=BPTT)
    preset = RNN_PRESETS["awd-lstm"]
    rates = {field: strength * getattr(preset, field) for field in DROPOUTS}
    return {**rates, "locked": True}, StreamConfig(bptt=BPTT, random=True, alpha=2.0, beta=1.0)


def texts(work: Path, vocab: int, characters: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Tokens to train on (the first so many characters), to choose by and to score; and the bytes of each token."""
    text = (data("labelled/tinyshakespeare") / "input.txt").read_text()
    cuts = [0, int(0.9 * len(text)), int(0.95 * len(text)), len(text)]
    parts = [text[low:high] for low, high in pairwise(cuts)]
    folder = work / f"tokenizer-{vocab}"
    if not (folder / "tokenizer.json").exists():
        train_tokenizer([parts[0]], ByteBPEConfig(vocab_size=vocab), folder)
    tokenizer = load_tokenizer(folder)
    return encode_documents(tokenizer, [parts[0][:characters], *parts[1:]]), token_byte_lengths(tokenizer)


def run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    (train, chosen_by, scored), sizes = texts(options.work, options.vocab, options.characters)
    own, stream = settings(name, options.strength)
    model_config = RNNConfig(
        embedding=options.embedding, width=options.width, layers=2, tied=True, vocab=options.vocab, **own
    )
    lanes: Lanes = (
        RandomLanes(ArrayPieces(train, 1), options.batch, stream.bptt, options.seed)
        if stream.random
        else Lanes(ArrayPieces(train, stream.bptt), options.batch)
    )
    steps = round(options.epochs * lanes.steps)
    config = TrainConfig(
        steps=steps,
        batch=options.batch,
        precision="fp32",
        seed=options.seed,
        clip=0.25,
        optimizer=OptimizerConfig(learning_rate=options.rate, beta2=0.99, weight_decay=1.2e-6),
        eval_interval=max(1, 2 * lanes.steps),  # every other epoch
        sample_interval=0,
        checkpoint_seconds=30,
        keep_last=1,
    ).resolve_for(options.width, options.vocab, stream.bptt)
    watched = [Lanes(ArrayPieces(part, BPTT), LANES) for part in (chosen_by, scored)]
    folder = options.work / f"{name}-{options.strength:g}-{options.characters}-{options.epochs:g}-{options.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    noted = folder / "curve.jsonl"  # what a stopped run had seen
    speeds: list[float] = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, RNNLM)
        first, second = (stream_bits_per_byte(model, part, sizes)["bits_per_byte"] for part in watched)
        return {"bits_per_byte": first, "test": second}

    def note(step: int, figures: dict[str, float]) -> None:
        with noted.open("a") as file:
            file.write(json.dumps([step, round(figures["bits_per_byte"], 4), round(figures["test"], 4)]) + "\n")

    model = RNNLM(model_config, seed=draw_seed(options.seed, "init"))
    started = time.perf_counter()
    result = Trainer(
        model,
        RecurrentObjective(model_config.widths[-1], sizes, alpha=stream.alpha, beta=stream.beta),
        lanes,
        config,
        steps,
        folder / "checkpoints",
        evaluate=evaluate,
        hooks=Hooks(on_evaluate=note, on_metrics=lambda _step, f: speeds.append(f["tokens_per_second"])),
        order=in_order,
        rate_scale=lanes.rate_scale,
    ).run()
    curve = sorted({row[0]: row for row in map(json.loads, noted.read_text().splitlines())}.values())
    best = min(curve, key=lambda row: row[1])
    return {
        "model": name,
        "strength": options.strength,
        "seed": options.seed,
        "parameters": model_config.parameter_count(),
        "training_tokens": len(train),
        "tokens": result.tokens,
        "steps": steps,
        "best_step": best[0],
        "valid": best[1],
        "test": best[2],
        "last": curve[-1],
        "seconds": round(time.perf_counter() - started, 1),
        "tokens_per_second": round(float(np.median(speeds or [0.0]))),
        "curve": curve,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=16)
    parser.add_argument("--characters", type=int, default=100_000, help="of the text to train on, the first")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--embedding", type=int, default=64)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--vocab", type=int, default=1024)
    parser.add_argument("--strength", type=float, default=1.0, help="of dropout")
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", nargs="*", choices=["plain", "zaremba", "awd"], default=["plain", "zaremba", "awd"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.models:
        print(json.dumps(run(name, options)), flush=True)


if __name__ == "__main__":
    main()
