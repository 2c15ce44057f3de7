"""What BERT and its kin make of one small budget: `python -m benchmarks.masked_kin --work FOLDER [--models bert]`.

bert, roberta, albert, spanbert and macbert, each with the masks and pairs of its paper, and xlnet: two layers, the same
text, the same WordPieces (RoBERTa's own are bytes; accuracies compare under one tokenizer alone), as many examples. Two
figures on validation text: `own`, accuracy and nats on what each is itself trained to predict; `hidden`, on 15 % of
single tokens that none of them sees (`[MASK]` in their place; XLNet is given their places and the rest). MacBERT has
never seen a `[MASK]`: its second figure is that of a stranger. The corpus is that of benchmarks.bert_corpus. A line of
JSON for each; a run that was stopped goes on from its last checkpoint, a finished one is not made again.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.bert_corpus import Corpus, prepare
from lm.config import OptimizerConfig, ScheduleConfig, TrainConfig
from lm.evaluate.masked import masked_figures
from lm.masked_examples import MaskedExamples
from lm.masking_config import MASKING_PRESETS, MaskingConfig, SegmentsConfig
from lm.models.bert import Bert
from lm.models.bert_config import BertConfig, bert_preset
from lm.models.xlnet import XLNet
from lm.models.xlnet_config import PermutationConfig, XLNetConfig
from lm.objectives.causal import IGNORE
from lm.objectives.masked import MaskedObjective
from lm.objectives.permutation import RANK, TARGETS, PermutationObjective, Permuted, visible_by_rank
from lm.order import numbered_by_epoch
from lm.packing import PackedSequences
from lm.similar_words import find_similar_words
from lm.special_tokens import special_tokens
from lm.tokenizer import load_tokenizer
from lm.train.hooks import Hooks
from lm.train.trainer import Trainer
from lm.vectors.config import Word2VecConfig

WATCHED = 1024
"""Validation examples."""
KIN: dict[str, dict[str, Any]] = {
    "bert": {"preset": "bert-tiny", "pairs": "nsp", "beta2": 0.999},
    "roberta": {"preset": "roberta-base", "pairs": "none", "beta2": 0.98},
    "albert": {"preset": "albert-base", "pairs": "sop", "beta2": 0.999, "embedding": 32},
    "spanbert": {"preset": "spanbert-base", "pairs": "none", "beta2": 0.999},
    "macbert": {"preset": "macbert-base", "pairs": "sop", "beta2": 0.999},
}


def size_of(name: str, vocab: int, options: argparse.Namespace) -> BertConfig:
    given = KIN[name]
    own = {"embedding": given["embedding"]} if "embedding" in given else {}
    heads = max(2, options.width // 64)
    layers = {"layers": options.layers, "width": options.width, "heads": heads}
    return bert_preset(given["preset"], vocab, context=options.length, dropout=0.0, **layers, **own)


def masking_of(name: str) -> MaskingConfig:
    return MASKING_PRESETS[name].model_copy(update={"chinese_words": False})


@torch.no_grad()
def xlnet_figures(model: XLNet, batches: Any, text: Any) -> dict[str, float]:
    """Nats and accuracy on targets: `text(batch)` is (tokens, visible [batch, time, time], targets, which count)."""
    nats = right = seen = 0.0
    model.eval()
    for batch in batches:
        tokens, visible, targets, counted = text(batch)
        streams = model.read(tokens, visible, targets)
        assert streams.query is not None
        logits, wanted = model.logits(streams.query)[counted].float(), tokens.gather(1, targets)[counted]
        nats += float(F.cross_entropy(logits, wanted, reduction="sum"))
        right, seen = right + float((logits.argmax(-1) == wanted).sum()), seen + len(wanted)
    return {"loss": nats / seen, "accuracy": right / seen, "predictions": seen}


def read(examples: Any, device: str, count: int = WATCHED) -> Any:
    for start in range(0, min(count, len(examples)), 32):
        batch = examples.batch(np.arange(start, min(start + 32, count, len(examples))))
        yield {name: tensor.to(device) for name, tensor in batch.items()}


def of_permuted(batch: dict[str, torch.Tensor]) -> Any:
    targets = batch[TARGETS]
    return batch["tokens"], visible_by_rank(batch[RANK]), targets, torch.ones_like(targets, dtype=torch.bool)


def of_masked(batch: dict[str, torch.Tensor]) -> Any:
    """The text of masked examples with its tokens back in place; each target sees what was left and no other target."""
    tokens, counted = batch["tokens"].clone(), batch["targets"] != IGNORE
    row, column = torch.nonzero(counted, as_tuple=True)
    places = batch["positions"][row, column]
    tokens[row, places] = batch["targets"][row, column]
    seen = batch["real"].clone()
    seen[row, places] = False
    seen[:, 0] = False  # [CLS]
    return tokens, seen[:, None].expand(-1, tokens.shape[1], -1), batch["positions"], counted


def run(name: str, corpus: Corpus, options: argparse.Namespace) -> dict[str, Any]:
    tokenizer = load_tokenizer(corpus.tokenizer)
    vocab = tokenizer.get_vocab_size()
    hidden = MaskedExamples(
        corpus.valid,
        tokenizer,
        MaskingConfig(masked=1.0, random=0.0),
        SegmentsConfig(length=options.length, pairs="none"),
        0,
    )
    model: nn.Module
    objective: Any
    if name == "xlnet":
        size: Any = XLNetConfig(
            layers=options.layers,
            width=options.width,
            heads=max(2, options.width // 64),
            inner=4 * options.width,
            context=options.length,
            vocab=vocab,
        )
        model, objective, beta2 = XLNet(size, seed=options.seed), PermutationObjective(), 0.999
        # One token of a piece is the first of the next.
        sequences = [PackedSequences(part, options.length) for part in (corpus.train, corpus.valid)]
        train, valid = (Permuted(part, options.length, PermutationConfig(), options.seed) for part in sequences)
        examples: Any = train
    else:
        segments = SegmentsConfig(length=options.length, pairs=KIN[name]["pairs"])
        size = size_of(name, vocab, options)
        model, beta2 = Bert(size, seed=options.seed), KIN[name]["beta2"]
        objective = MaskedObjective(size.pair_head, size.boundary_head)
        masking, similar = masking_of(name), None
        if masking.hidden_by == "similar":
            vectors = Word2VecConfig(kind="word2vec")
            similar = find_similar_words(corpus.train, tokenizer, None, vectors, options.work / "similar")
        examples, valid = (  # type: ignore[assignment]
            MaskedExamples(part, tokenizer, masking, segments, options.seed, similar=similar)
            for part in (corpus.train, corpus.valid)
        )
    config = TrainConfig(
        steps=options.steps,
        batch=options.batch,
        micro_batch=options.batch,
        precision=options.precision,
        seed=options.seed,
        optimizer=OptimizerConfig(learning_rate=options.rate, beta2=beta2, weight_decay=0.01),
        schedule=ScheduleConfig(final_fraction=0.0),
        eval_interval=0,
        sample_interval=0,
        checkpoint_seconds=20,
        keep_last=1,
    ).resolve_for(options.width, vocab, options.length)
    folder = options.work / f"{name}-{options.steps}-{options.rate:g}-{options.seed}"
    speeds: list[float] = []
    hooks = Hooks(on_metrics=lambda _step, figures: speeds.append(figures["tokens_per_second"]))
    started = time.perf_counter()
    result = Trainer(
        model, objective, examples, config, options.steps, folder, hooks=hooks, order=numbered_by_epoch
    ).run()
    model.eval()
    line = {
        "model": name,
        "seed": options.seed,
        "rate": options.rate,
        "steps": options.steps,
        "parameters": size.parameter_count(),
        "tokens": result.tokens,
        "seconds": round(time.perf_counter() - started, 1),
        "tokens_per_second": round(float(np.median(speeds or [0.0]))),
    }
    if isinstance(model, XLNet):
        own = xlnet_figures(model, read(valid, config.device), of_permuted)
        common = xlnet_figures(model, read(hidden, config.device), of_masked)
    else:
        assert isinstance(model, Bert)
        assert isinstance(valid, MaskedExamples)
        own, common = (
            {key.removeprefix("masked_"): value for key, value in masked_figures(model, part, WATCHED).items()}
            for part in (valid, hidden)
        )
        common = {key: value for key, value in common.items() if not key.startswith("pair")}
    rounded = {kind: {k: round(v, 4) for k, v in f.items()} for kind, f in (("own", own), ("hidden", common))}
    return {**line, **rounded, "most_frequent": most_frequent(corpus)}


def most_frequent(corpus: Corpus) -> float:
    """The share of the commonest token of the validation text: what is had for nothing."""
    counts = corpus.valid.token_counts()
    counts[list({special_tokens(load_tokenizer(corpus.tokenizer)).sep})] = 0
    return round(float(counts.max() / counts.sum()), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--vocab", type=int, default=1024)
    parser.add_argument("--megabytes", type=float, default=12.0)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", nargs="*", choices=[*KIN, "xlnet"], default=[*KIN, "xlnet"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    corpus = prepare(options.work, "en", options.megabytes, options.vocab)
    for name in options.models:
        kept = options.work / f"{name}-{options.steps}-{options.rate:g}-{options.seed}.json"
        if not kept.exists():
            kept.write_text(json.dumps(run(name, corpus, options)))
        print(kept.read_text(), flush=True)


if __name__ == "__main__":
    main()
