"""What is said of the generations, measured small: `python -m benchmarks.claims WHAT [--seeds 1 2] [--threads 1]`.

scaling      the loss of GPTs of seven sizes at one budget, and the power law through it (C21)
transformer  a GPT against an LSTM at equal parameters: equal characters, and equal seconds (C28)
grid         three sizes of text by three sizes of GPT, the loss on other text and on the text itself (C31)
memory       Transformer-XL with memories of several lengths, trained and only evaluated with them
xlnet        a GPT and XLNets of its size: from left to right, and given five sixths of the text around
ngrams       distinct n-grams of a growing text against NNLM parameters for its vocabulary (C3)

All on tinyshakespeare below TEXTMILL_DATA but `scaling`, which reads bytes of corpus_en, none twice. Prints a line of
JSON for each run. Each run is of a minute or less on an idle core; say --only to make some of them.
"""

import argparse
import io
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from benchmarks._small_runs import LANES, data, gpt, shakespeare, train
from lm.evaluate.recurrent import stream_bits_per_byte
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.models.transformer_xl import TransformerXL
from lm.models.transformer_xl_config import TransformerXLConfig
from lm.models.xlnet import XLNet
from lm.models.xlnet_config import PermutationConfig, XLNetConfig
from lm.order import draw_seed
from lm.scaling import fit_power_law
from lm.streams import ArrayPieces, Lanes

BUDGET, BATCH = 750_000, 8
SIZES = [(1, 16), (2, 16), (2, 24), (2, 32), (3, 48), (4, 64), (4, 96)]


def show(**row: object) -> None:
    print(json.dumps(row), flush=True)


def place(options: argparse.Namespace, *names: object) -> Path | None:
    """Where a run keeps its checkpoints."""
    return options.directory and options.directory / "-".join(
        map(str, (options.what, options.steps, options.rate, *names))
    )


def body(layers: int, width: int) -> int:
    """Parameters of a GPT without its embeddings, which a law of size is about (Kaplan et al. 2020)."""
    return layers * (12 * width**2 + 13 * width) + 2 * width


def corpus_bytes(every: int) -> np.ndarray:
    """The bytes of every so many-th document of corpus_en: all sources as they are mixed."""
    kept, number = [], 0
    for path in sorted(data("corpus_en").glob("*.jsonl.zst")):
        with pa.input_stream(str(path), compression="zstd") as stream:
            for line in io.TextIOWrapper(stream, encoding="utf-8"):
                if number % every == 0:
                    kept.append((json.loads(line)["text"] + "\n").encode())
                number += 1
    return np.frombuffer(b"".join(kept), dtype=np.uint8).astype(np.int64)


def scaling(options: argparse.Namespace) -> None:
    text = corpus_bytes(40)
    rows = text[: len(text) // 4096 * 4096].reshape(-1, 4096)
    order = np.random.default_rng(0).permutation(len(rows))  # all sources in both parts
    valid_text, train_text = rows[order[:50]].ravel(), rows[order[50 : 50 + BUDGET // 4096 + 8]].ravel()
    sizes, losses = [], []
    for seed in options.seeds:
        for number, (layers, width) in enumerate(SIZES):
            if options.only is not None and number not in options.only:
                continue
            rate = options.rate or min(1e-2, 5e-3 * (64 / width) ** 0.5)
            model = gpt(256, layers, width, 64, seed, heads=max(1, width // 16))
            steps = BUDGET // (64 * BATCH)
            row = train(
                model,
                train_text,
                valid_text,
                context=64,
                steps=steps,
                batch=BATCH,
                rate=rate,
                seed=seed,
                directory=place(options, number, seed),
            )
            show(claim="C21", layers=layers, width=width, body=body(layers, width), rate=rate, seed=seed, **row)
            sizes.append(body(layers, width))
            losses.append(row["nats"])
    if len(set(sizes)) > 2:
        show_law(sizes, losses)


def show_law(sizes: list[int], losses: list[float]) -> None:
    law = fit_power_law(sizes, losses)
    interval = [round(end, 4) for end in law.exponent_interval]
    show(claim="C21", exponent=round(law.exponent, 4), interval=interval, r_squared=round(law.r_squared, 4))


def transformer(options: argparse.Namespace) -> None:
    """A GPT of 208,320 parameters and an LSTM of 207,453, each at three rates. What one reaches in the other's seconds
    is its run with `--steps` times the ratio of their `tokens_per_cpu_second`."""
    train_text, valid_text, vocab = shakespeare()
    lstm = RNNConfig(cell="lstm", embedding=64, width=188, vocab=vocab)
    rates = [options.rate] if options.rate else [0.5, 1.0, 2.0]
    runs = [("gpt", rate * (1 if options.rate else 4e-3)) for rate in rates]
    runs += [("lstm", rate * (1 if options.rate else 1e-2)) for rate in rates]
    for seed in options.seeds:
        for number, (name, rate) in enumerate(runs):
            if options.only is not None and number not in options.only:
                continue
            initial = draw_seed(seed, "init")
            model = gpt(vocab, 4, 64, 64, seed, heads=2) if name == "gpt" else RNNLM(lstm, seed=initial)
            row = train(
                model,
                train_text,
                valid_text,
                context=64,
                steps=options.steps,
                batch=16,
                rate=rate,
                seed=seed,
                directory=place(options, name, rate, seed),
            )
            count = sum(p.numel() for p in model.parameters())
            show(claim="C28", model=name, parameters=count, rate=rate, seed=seed, **row)


def grid(options: argparse.Namespace) -> None:
    train_text, valid_text, vocab = shakespeare()
    cells = [(c, size) for c in (10_000, 100_000, 1_000_000) for size in ((1, 16), (2, 64), (4, 128))]
    for seed in options.seeds:
        for number, (characters, (layers, width)) in enumerate(cells):
            if options.only is not None and number not in options.only:
                continue
            text = train_text[:characters]
            model = gpt(vocab, layers, width, 64, seed, heads=max(1, width // 32))
            row = train(
                model,
                text,
                valid_text[:50_000],
                context=64,
                steps=options.steps,
                batch=16,
                rate=3e-3,
                seed=seed,
                directory=place(options, number, seed),
            )
            own = train_loss(model, text[:10_000])
            show(claim="C31", text=characters, body=body(layers, width), own_text=own, seed=seed, **row)


def train_loss(model: torch.nn.Module, text: np.ndarray) -> float:
    from lm.evaluate.perplexity import bits_per_byte

    one_byte = np.ones(int(text.max()) + 1 if len(text) else 1, dtype=np.int64)
    return round(bits_per_byte(model, ArrayPieces(text, 64), one_byte, batch=32)["bits_per_byte"], 4)


def memory(options: argparse.Namespace) -> None:
    """Equal parameters, characters and segments; each trained model is scored with each memory."""
    train_text, valid_text, vocab = shakespeare()
    lengths = (0, 32, 128)
    for seed in options.seeds:
        for number, length in enumerate(lengths):
            if options.only is not None and number not in options.only:
                continue
            config = TransformerXLConfig(layers=3, width=96, heads=3, inner=384, memory=length, vocab=vocab)
            model = TransformerXL(config, seed=draw_seed(seed, "init"))
            row = train(
                model,
                train_text,
                valid_text,
                context=32,
                steps=options.steps,
                batch=32,
                rate=options.rate or 2e-3,
                seed=seed,
                directory=place(options, length, seed),
            )
            scored = {}
            for other in (0, 32, 64, 128, 256):
                longer = TransformerXL(config.model_copy(update={"memory": other}))
                longer.load_state_dict(model.state_dict())
                longer.to(model.head_bias.device)
                lanes = Lanes(ArrayPieces(valid_text, 32), LANES)
                figures = stream_bits_per_byte(longer, lanes, np.ones(vocab, dtype=np.int64))
                scored[other] = round(figures["bits_per_byte"], 4)
            show(model="transformer_xl", memory=length, scored_with=scored, seed=seed, **row)


def xlnet(options: argparse.Namespace) -> None:
    """XLNets that predict one character of six and all; a GPT is one that predicts all in one order."""
    train_text, valid_text, vocab = shakespeare()
    for seed in options.seeds:
        for number, name in enumerate(("gpt", "xlnet, one of 6", "xlnet, all")):
            if options.only is not None and number not in options.only:
                continue
            if name == "gpt":
                model: torch.nn.Module = gpt(vocab, 2, 64, 64, seed, heads=2)
            else:
                config = XLNetConfig(layers=2, width=64, heads=2, inner=256, context=64, vocab=vocab)
                model = XLNet(config, seed=draw_seed(seed, "init"))
            row = train(
                model,
                train_text,
                valid_text,
                context=64,
                steps=options.steps,
                batch=16,
                rate=options.rate or 3e-3,
                seed=seed,
                directory=place(options, number, seed),
                permutation=PermutationConfig(predict=1 if name == "xlnet, all" else 6),
            )
            show(model=name, parameters=sum(p.numel() for p in model.parameters()), seed=seed, **row)


def ngrams(_options: argparse.Namespace) -> None:
    """Words of the text; an NNLM has |V| (1 + n m + h) + h (1 + (n - 1) m) parameters (Bengio et al. 2003)."""
    words = data("labelled/tinyshakespeare/input.txt").read_text().split()
    found = []
    for count in (5_000, 10_000, 20_000, 50_000, 100_000, 200_000):
        part = words[:count]
        vocabulary = len(set(part))
        distinct = {n: len(Counter(zip(*(part[i:] for i in range(n)), strict=False))) for n in (2, 3, 5)}
        nnlm = vocabulary * (1 + 5 * 60 + 50) + 50 * (1 + 4 * 60)
        found.append((vocabulary, distinct))
        show(claim="C3", words=len(part), vocabulary=vocabulary, distinct=distinct, nnlm_parameters=nnlm)
    for n in (2, 3, 5):
        slopes = [np.log(b[1][n] / a[1][n]) / np.log(b[0] / a[0]) for a, b in pairwise(found)]
        show(claim="C3", n=n, growth_exponent_in_vocabulary=[round(float(s), 2) for s in slopes])


WHAT = {
    "scaling": scaling,
    "transformer": transformer,
    "grid": grid,
    "memory": memory,
    "xlnet": xlnet,
    "ngrams": ngrams,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rate", type=float, help="in place of the one chosen by size")
    parser.add_argument("--only", type=int, nargs="*", help="the n-th runs of each seed, from 0")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where runs keep checkpoints, to go on after a kill")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    WHAT[options.what](options)


if __name__ == "__main__":
    main()
