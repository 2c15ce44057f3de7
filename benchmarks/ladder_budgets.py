"""At which budget the order of the generations turns: `python -m benchmarks.ladder_budgets --work DIR [--epochs 1 4]`.

Networks of about the same size, each trained for several budgets (passes over the same text, each budget a run of its
own with its whole schedule), and n-grams that count the text once. All score the same test sequences of 128 tokens,
each behind nothing. The text is that of benchmarks.nnlm_ngrams: prose of corpus_en below TEXTMILL_DATA under a
byte-level BPE of 4,096 tokens; DIR keeps it, so that a machine without the corpus can go on from there. A line of JSON
for each run; a run that was killed goes on from its last checkpoint, one that is finished is not made again.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks._prose import prose_shards
from lm.artifact import load_model, load_torch
from lm.config import OptimizerConfig, TrainConfig
from lm.models.gpt_config import gpt_preset
from lm.models.nnlm import NNLM
from lm.models.nnlm_config import NNLMConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig, StreamConfig
from lm.ngram.config import NgramConfig
from lm.packing import PackedSequences
from lm.pretrain import pretrain
from lm.pretraining import GPTPretraining, NNLMPretraining, Pretrainable, RNNPretraining
from lm.recipes.recipe import Given
from lm.texts.decoder import DecoderText
from lm.texts.nnlm import NNLMText
from lm.texts.stateful import StatefulText
from lm.tokenizers.spelling import Spelling

CONTEXT, SCORED = 128, 1000
NGRAMS = {
    "unigram": NgramConfig(order=1, smoothing="add_k", k=1.0),
    "KN-3": NgramConfig(order=3, smoothing="modified_kneser_ney"),
    "KN-5": NgramConfig(order=5, smoothing="modified_kneser_ney"),
}
RECURRENT = {
    "elman": {"cell": "elman", "width": 992},
    "gru": {"cell": "gru", "width": 460},
    "lstm": {"cell": "lstm", "width": 365, "forget_bias": 3.0},
}
"""Two layers, the second as wide as the embedding, which is the head: all networks have 2.6 million parameters."""
RATES = {"nnlm": 3e-3, "elman": 1e-3, "gru": 3e-3, "lstm": 6e-3, "gpt": 3e-3}


def settings(name: str, dropout: float) -> Pretrainable:
    """A network without its vocabulary."""
    if name == "gpt":
        return GPTPretraining(model=gpt_preset("nano", dropout=dropout))
    if name == "nnlm":
        return NNLMPretraining(model=NNLMConfig(order=5, embedding=128, hidden=448, direct=False), sequence=CONTEXT)
    model = RNNConfig(
        embedding=256, layers=2, tied=True, input_dropout=dropout, output_dropout=dropout, **RECURRENT[name]
    )
    return RNNPretraining(model=model, stream=StreamConfig(bptt=CONTEXT))


def opened(kind: str, folder: Path, device: str) -> Any:
    """The trained model as its users see it."""
    spelling = Spelling.load(folder)
    if kind == "gpt":
        model, tokenizer = load_model(folder)
        return DecoderText(model.to(device), tokenizer, spelling)
    if kind == "nnlm":
        network, tokenizer = load_torch(folder, NNLM)
        return NNLMText(network.to(device), tokenizer, spelling)
    recurrent, tokenizer = load_torch(folder, RNNLM)
    return StatefulText(recurrent.to(device), tokenizer, spelling)


def train(name: str, epochs: float, shards: Any, options: argparse.Namespace) -> dict[str, Any]:
    """One network for one budget; its figures."""
    index, valid, test = shards
    rate = options.rate or RATES[name]
    given = settings(name, options.dropout if epochs > 2 else 0.0).with_vocab(index.vocab)
    config = TrainConfig(
        epochs=epochs,
        batch=options.batch,
        seed=options.seed,
        precision=options.precision,
        eval_interval=0,
        sample_interval=0,
        metrics_interval=200,
        optimizer=OptimizerConfig(learning_rate=rate, beta2=0.99, weight_decay=0.1 if name == "gpt" else 0.01),
    )
    folder = options.work / f"{name}-{epochs:g}-{rate:g}-{options.batch}-{options.seed}"
    parts = Given(given, given.resolve(config), index, valid, options.work)
    started, begun = time.perf_counter(), time.process_time()
    result = pretrain(parts, folder / "checkpoints", folder / "model")
    seconds, processor = round(time.perf_counter() - started, 1), round(time.process_time() - begun, 1)
    device = parts.config.device
    model = opened(given.kind, folder / "model", device)  # type: ignore[attr-defined]
    figures = model.bits_per_byte(test, min(SCORED, len(test)))
    line = {
        "model": name,
        "epochs": epochs,
        "rate": rate,
        "seed": options.seed,
        "bits_per_byte": round(figures["bits_per_byte"], 4),
        "parameters": result["parameters"],
        "tokens": result["tokens"],
        "seconds": seconds,
        "processor_seconds": processor,
        "device": device,
        "precision": parts.config.precision,
        "sample": model.generate("The ", 60, temperature=0.8, top_k=50, seed=0),
    }
    (folder / "line.json").write_text(json.dumps(line, ensure_ascii=False))
    return line


def count(name: str, shards: Any, options: argparse.Namespace) -> dict[str, Any]:
    """One n-gram model; its figures."""
    from lm.ngram.build import build_ngram
    from lm.ngram.model import load_ngram
    from lm.texts.ngram import NgramText

    index, _, test = shards
    folder = options.work / name
    started = time.perf_counter()
    if not (folder / "config.json").exists():
        build_ngram(index, options.work, NGRAMS[name], folder)
    seconds = round(time.perf_counter() - started, 1)
    ngram = load_ngram(folder)
    figures = NgramText(ngram, Spelling.load(folder)).bits_per_byte(test, min(SCORED, len(test)))
    bits = round(figures["bits_per_byte"], 4)
    return {"model": name, "bits_per_byte": bits, "parameters": ngram.parameter_count(), "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--models", nargs="*", default=[*NGRAMS, *RATES], choices=[*NGRAMS, *RATES])
    parser.add_argument("--epochs", type=float, nargs="*", default=[1])
    parser.add_argument("--tokens", type=int, default=4_000_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, help="in place of the one of each model")
    parser.add_argument("--dropout", type=float, default=0.1, help="of budgets beyond two passes")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    index, valid, test = prose_shards(options.work, True, options.tokens, 200_000)
    scored = PackedSequences(test, CONTEXT)
    print(json.dumps({"tokens": [each.tokens for each in (index, valid, test)], "test": len(scored)}), flush=True)
    for name in options.models:
        if name in NGRAMS:
            print(json.dumps(count(name, (index, valid, scored), options)), flush=True)
            continue
        for epochs in options.epochs:
            print(json.dumps(train(name, epochs, (index, valid, scored), options), ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
