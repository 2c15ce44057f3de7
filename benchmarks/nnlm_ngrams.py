"""Bengio's network against Kneser-Ney at equal data: `python -m benchmarks.nnlm_ngrams [--sources all] [--epochs 2]`.

Documents of corpus_en below TEXTMILL_DATA in the order of a hash of their ids, no text twice, tokenized with a
byte-level BPE of 4,096 tokens learned from the training part: 2 M tokens to train on, 200,000 that decide the weight of
the mixtures, and 200,000 to score. `--sources prose` takes speeches, books, news and discussion alone; `all` also
takes manuals, which repeat themselves word for word. Every model scores the same sequences of 128 tokens, and sees
nothing before the sequence. Prints a line of JSON for each model. With --directory the tokens are kept, and a training
that was killed goes on from its last checkpoint.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks._prose import prose_shards
from lm.config import OptimizerConfig, TrainConfig
from lm.evaluate.mixture import best_weight, log_probs_figures, mixed_log_probs, network_log_probs, ngram_log_probs
from lm.evaluate.perplexity import bits_per_byte
from lm.memory import keep_freed_memory
from lm.models.nnlm import NNLM
from lm.models.nnlm_config import NNLMConfig
from lm.ngram.build import build_ngram
from lm.ngram.config import NgramConfig
from lm.ngram.model import load_ngram
from lm.objectives.causal import CausalObjective
from lm.order import draw_seed
from lm.packing import PackedSequences
from lm.tokenizer import load_tokenizer, token_byte_lengths
from lm.tokens import TokenIndex, build_index
from lm.train.hooks import Hooks
from lm.train.trainer import Trainer

CONTEXT = 128


def train_network(config: NNLMConfig, train: TokenIndex, options: argparse.Namespace, folder: Path) -> NNLM:
    """A network trained for `--epochs`; its curve is printed."""
    sequences = PackedSequences(train, CONTEXT)
    settings = TrainConfig(
        epochs=options.epochs,
        batch=options.batch,
        precision=options.precision,
        seed=options.seed,
        optimizer=OptimizerConfig(learning_rate=options.rate, weight_decay=options.weight_decay, beta2=0.99),
        eval_interval=0,
        sample_interval=0,
        metrics_interval=50,
        checkpoint_seconds=20,
    ).resolve_for(config.hidden, config.vocab, CONTEXT)
    model = NNLM(config, seed=draw_seed(options.seed, "init"))
    curve: list[float] = []
    speeds: list[float] = []

    def watch(step: int, figures: dict[str, float]) -> None:
        curve.append(round(figures["loss"], 3))
        speeds.append(figures["tokens_per_second"])

    steps = settings.total_steps(len(sequences), CONTEXT)
    Trainer(
        model, CausalObjective(), sequences, settings, steps, folder, hooks=Hooks(on_metrics=watch), best_metric=None
    ).run()
    line = {"steps": steps, "device": settings.device, "loss": curve[:: max(1, len(curve) // 8)]}
    print(json.dumps({**line, "tokens/s": round(float(np.median(speeds or [0.0])))}))
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", choices=["prose", "all"], default="prose")
    parser.add_argument("--tokens", type=int, default=2_000_000)
    parser.add_argument("--held-out", type=int, default=200_000)
    parser.add_argument("--direct", nargs="*", choices=["no", "yes"], default=["no", "yes"])
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--embedding", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where tokens and checkpoints are kept")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.directory or Path(temporary)
        train, tune, test = prose_shards(folder, options.sources == "prose", options.tokens, options.held_out)
        lengths = token_byte_lengths(load_tokenizer(folder))
        tuning, scored = PackedSequences(tune, CONTEXT), PackedSequences(test, CONTEXT)
        print(json.dumps({"tokens": [each.tokens for each in (train, tune, test)], "vocab": train.vocab}), flush=True)
        baselines = {}
        for name, order in (("KN-3", 3), ("KN-5", 5)):
            if not (folder / name / "config.json").exists():
                settings = NgramConfig(order=order, smoothing="modified_kneser_ney")
                build_ngram(train, folder, settings, folder / name)
            baselines[name] = load_ngram(folder / name)
            logs = ngram_log_probs(baselines[name], scored)
            report(name, log_probs_figures(logs, scored, lengths), parameters=baselines[name].parameter_count())
        some = build_index([folder / "train"], lambda ids: np.arange(len(ids)) % 2 == 0)
        small = build_ngram(some, folder, NgramConfig(order=5), folder / "KN-5-half")
        print(json.dumps({"5-grams of half": small["ngrams"], "of all": baselines["KN-5"].described["ngrams"]}))
        for direct in options.direct:
            config = NNLMConfig(
                order=options.order,
                embedding=options.embedding,
                hidden=options.hidden,
                direct=direct == "yes",
                vocab=train.vocab,
                start_token=train.end_of_text,
            )
            started = time.perf_counter()
            network = train_network(config, train, options, folder / f"direct-{direct}")
            seconds = round(time.perf_counter() - started, 1)
            name = f"NNLM-{options.order}, direct links: {direct}"
            first, second = network_log_probs(network, tuning), network_log_probs(network, scored)
            seen = bits_per_byte(network, PackedSequences(train, CONTEXT), lengths, len(scored))["bits_per_byte"]
            report(
                name,
                log_probs_figures(second, scored, lengths),
                parameters=config.parameter_count(),
                seconds=seconds,
                on_training_text=round(seen, 4),
            )
            for other, ngram in baselines.items():
                weight = best_weight(first.ravel(), ngram_log_probs(ngram, tuning).ravel())
                counted = ngram_log_probs(ngram, scored)
                mixed = log_probs_figures(mixed_log_probs(second, counted, weight), scored, lengths)
                half = log_probs_figures(mixed_log_probs(second, counted, 0.5), scored, lengths)
                report(f"{name} + {other}", mixed, weight=round(weight, 3), half=round(half["bits_per_byte"], 4))


def report(name: str, figures: dict[str, float], **more: float) -> None:
    """One line."""
    line = {
        "model": name,
        "bits_per_byte": round(figures["bits_per_byte"], 4),
        "perplexity": round(figures["perplexity_per_token"], 2),
    }
    print(json.dumps({**line, **more}), flush=True)


if __name__ == "__main__":
    main()
