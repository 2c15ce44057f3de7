"""What masked language models learn: `python -m benchmarks.bert_learning --work FOLDER RUN ...`.

Runs, of one size (two layers unless said otherwise) and with the same text, batch and steps:

overfit   BERT on 48 examples with fixed masks: it must be able to learn them by heart
nsp sop   BERT's pairs and ALBERT's: which one is harder
mlm       masked tokens alone, 80/10/10
hidden    the same with 100/0/0
causal    the same encoder with a staircase mask, predicting every next token: equal parameters, left to right
zh        a Chinese BERT with whole-word masks on the news

A run that was stopped goes on from its last checkpoint. Figures over the steps are appended to FOLDER/NAME/curve.jsonl;
what the finished model says is printed. The corpus is that of benchmarks.bert_corpus.
"""

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
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
from lm.nn.masks import Causal
from lm.objectives.masked import MaskedObjective
from lm.order import examples_at, numbered_by_epoch
from lm.special_tokens import special_tokens
from lm.tokenizer import encode_documents, load_tokenizer
from lm.train.hooks import Hooks
from lm.train.objective import Batch, Losses, Term
from lm.train.trainer import Trainer
from lm.words_in_tokens import chinese_words

WATCHED = 256
SIZES = {"en": (1024, 4.0), "zh": (4096, 4.0)}
"""Vocabulary and megabytes of text, unless said otherwise."""
FILLED = {
    "en": ["the president of the united [MASK] .", "god said , let there be [MASK] .", "he went down to the [MASK] ."],
    "zh": ["中国人[MASK]银行", "全国人民代表大[MASK]", "改革开[MASK]以来，经济发[MASK]很快。", "记者从北[MASK]报道"],
}


class NextToken:
    """Every next token of the examples' text, by the same encoder and head behind a staircase mask."""

    def counts(self, batch: Batch) -> dict[str, float]:
        return {"causal": float(batch["real"][:, 1:].sum())}

    def tokens(self, batch: Batch) -> int:
        return int(batch["real"].sum())

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        assert isinstance(model, Bert)
        tokens, wanted = unmasked(batch), batch["real"][:, 1:]
        logits = model(tokens[:, :-1], mask=Causal())[wanted].float()
        return Losses(
            {"causal": Term(F.cross_entropy(logits, tokens[:, 1:][wanted], reduction="sum"), float(len(logits)))}
        )


def unmasked(batch: Batch) -> torch.Tensor:
    """The tokens of a batch as they stood in the text."""
    tokens = batch["tokens"].clone()
    row, column = torch.nonzero(batch["targets"] >= 0, as_tuple=True)
    tokens[row, batch["positions"][row, column]] = batch["targets"][row, column]
    return tokens


def batches(model: Bert, examples: MaskedExamples, limit: int) -> Iterator[Batch]:
    """The first examples, where the model is."""
    device, count = next(model.parameters()).device, min(limit, len(examples))
    for start in range(0, count, 32):
        batch = examples.batch(np.arange(start, min(start + 32, count)))
        yield {name: tensor.to(device) for name, tensor in batch.items()}


@torch.no_grad()
def causal_figures(model: Bert, examples: MaskedExamples, limit: int) -> dict[str, float]:
    nats = right = seen = 0.0
    for batch in batches(model, examples, limit):
        tokens, wanted = unmasked(batch), batch["real"][:, 1:]
        logits, targets = model(tokens[:, :-1], mask=Causal())[wanted].float(), tokens[:, 1:][wanted]
        nats += float(F.cross_entropy(logits, targets, reduction="sum"))
        right, seen = right + float((logits.argmax(-1) == targets).sum()), seen + len(targets)
    return {"causal_loss": nats / seen, "causal_accuracy": right / seen, "predictions": seen}


@torch.no_grad()
def on_whole_text(model: Bert, examples: MaskedExamples, limit: int) -> dict[str, float]:
    """What the model says of tokens that it sees, in text without a single mask: as a later task will show it."""
    nats = right = seen = 0.0
    for batch in batches(model, examples, limit):
        row, column = torch.nonzero(batch["targets"] >= 0, as_tuple=True)
        targets = batch["targets"][row, column]
        hidden = model.hidden_states(unmasked(batch))
        logits = model.masked_logits(hidden[row, batch["positions"][row, column]]).float()
        nats += float(F.cross_entropy(logits, targets, reduction="sum"))
        right, seen = right + float((logits.argmax(-1) == targets).sum()), seen + len(targets)
    return {"seen_loss": nats / seen, "seen_accuracy": right / seen}


@torch.no_grad()
def filled(model: Bert, corpus: Corpus, text: str) -> str:
    """The text with the three likeliest tokens at each mask."""
    tokenizer = load_tokenizer(corpus.tokenizer)
    special = special_tokens(tokenizer)
    parts = [ids.tolist() for ids in encode_documents(tokenizer, text.split("[MASK]"))]
    ids = [special.cls, *parts[0], *(i for part in parts[1:] for i in (special.mask, *part)), special.sep]
    logits = model(torch.tensor([ids], device=model.bias.device))[0]
    for place in [i for i, token in enumerate(ids) if token == special.mask]:
        best = logits[place].topk(3).indices.tolist()
        text = text.replace("[MASK]", "[" + " ".join(tokenizer.id_to_token(i) for i in best) + "]", 1)
    return text


def language_of(name: str) -> str:
    return "zh" if name == "zh" else "en"


def corpus_of(language: str, options: argparse.Namespace) -> Corpus:
    vocab, megabytes = SIZES[language]
    return prepare(options.work, language, options.megabytes or megabytes, options.vocab or vocab)


def run(name: str, options: argparse.Namespace) -> None:
    work, steps, language = options.work, options.steps, language_of(name)
    corpus = corpus_of(language, options)
    tokenizer = load_tokenizer(corpus.tokenizer)
    masking: dict[str, MaskingConfig] = {
        "overfit": MASKING_PRESETS["bert"],
        "hidden": MaskingConfig(masked=1.0, random=0.0),
        "zh": MaskingConfig(unit="word", chinese_words=True),
    }
    pairs: dict[str, Any] = {"nsp": "nsp", "sop": "sop", "overfit": "nsp", "zh": "nsp"}
    segments = SegmentsConfig(
        length=options.length, pairs=pairs.get(name, "none"), passes=1 if name == "overfit" else options.passes
    )

    cut = chinese_words if name == "zh" else None

    def examples(index: Any) -> MaskedExamples:
        return MaskedExamples(index, tokenizer, masking.get(name, MaskingConfig()), segments, 0, cut)

    paired, overfit = segments.pairs != "none", name == "overfit"
    size: BertConfig = bert_preset(
        "bert-tiny",
        tokenizer.get_vocab_size(),
        layers=options.layers,
        width=options.width,
        heads=max(2, options.width // 64),
        context=options.length,
        pair_head=paired,
        dropout=0.0,
    )
    train, valid = examples(corpus.train), examples(corpus.valid)
    if overfit:
        train = valid = First(valid, 48)
        steps = min(steps, 400)
    config = TrainConfig(
        steps=steps,
        batch=16 if overfit else options.batch,
        micro_batch=options.batch,
        precision=options.precision,
        optimizer=OptimizerConfig(learning_rate=options.rate, beta2=0.999, weight_decay=0.01),
        schedule=ScheduleConfig(final_fraction=0.0),
        eval_interval=50 if overfit else steps // 20,
        sample_interval=0,
        checkpoint_seconds=options.checkpoint_seconds,
        keep_last=1,
    ).resolve_for(size.width, size.vocab, options.length)
    folder = work / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, Bert)
        return causal_figures(model, valid, WATCHED) if name == "causal" else masked_figures(model, valid, WATCHED)

    def write(step: int, figures: dict[str, float]) -> None:
        line = json.dumps({"step": step, **{k: round(v, 4) for k, v in figures.items()}})
        with (folder / "curve.jsonl").open("a") as file:
            file.write(line + "\n")
        print(name, line, flush=True)

    model = Bert(size, seed=0)
    order: Callable[..., np.ndarray] = examples_at if overfit else numbered_by_epoch
    objective = NextToken() if name == "causal" else MaskedObjective(paired, boundary=False)
    best = "causal_loss" if name == "causal" else "masked_loss"
    speeds: list[float] = []
    hooks = Hooks(on_evaluate=write, on_metrics=lambda _step, figures: speeds.append(figures["tokens_per_second"]))
    started = time.perf_counter()
    result = Trainer(
        model,
        objective,
        train,
        config,
        steps,
        folder / "checkpoints",
        evaluate,
        hooks=hooks,
        best_metric=best,
        order=order,
    ).run()
    seconds = time.perf_counter() - started
    model.eval()
    said: dict[str, Any] = {"run": name, "parameters": size.parameter_count(), "steps": steps, **evaluate(model)}
    said |= {"device": config.device, "precision": config.precision, "seconds": round(seconds, 1)}
    if speeds:  # without evaluations and checkpoints
        speed = float(np.median(speeds))
        said |= {"tokens_per_second": round(speed), "steps_per_second": round(speed * steps / result.tokens, 2)}
    if name in ("mlm", "hidden"):
        said |= on_whole_text(model, valid, WATCHED)
    if name != "causal":
        said["filled"] = [filled(model, corpus, text) for text in FILLED[language]]
    (folder / "said.json").write_text(json.dumps(said, ensure_ascii=False, indent=1) + "\n")
    print(json.dumps(said, ensure_ascii=False), flush=True)


class First:
    """The first examples of a list, in their first epoch."""

    def __init__(self, examples: MaskedExamples, count: int) -> None:
        self.examples, self.count = examples, count
        self.fingerprint = f"{examples.fingerprint}/{count}"

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: np.ndarray) -> Batch:
        return self.examples.batch(indices)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=64, help="with heads of 64, two at least")
    parser.add_argument("--vocab", type=int, help="English: 1024, Chinese: 4096")
    parser.add_argument("--megabytes", type=float, help="of text: 4")
    parser.add_argument("--passes", type=int, default=5, help="ways in which the text is cut into pairs")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--checkpoint-seconds", type=float, default=10, help="between checkpoints")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("runs", nargs="+", choices=["overfit", "nsp", "sop", "mlm", "hidden", "causal", "zh"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if len(options.runs) == 1:
        run(options.runs[0], options)
        return
    # Each in a process of its own; what is imported is imported once. A process that has touched a GPU must not fork:
    # this one never touches it. What several runs read is made before they begin.
    for language in sorted({language_of(name) for name in options.runs}):
        wait([forked(lambda language=language: corpus_of(language, options))])  # type: ignore[misc]
    wait([forked(lambda name=name: run(name, options)) for name in options.runs])  # type: ignore[misc]


def forked(task: Callable[[], object]) -> int:
    """The number of a process that does this and ends."""
    child = os.fork()
    if child:
        return child
    try:
        task()
    except BaseException:  # noqa: BLE001 (said here, and by the exit status)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def wait(children: list[int]) -> None:
    """Until all have ended; exits if one of them failed."""
    failed = [child for child in children if os.waitpid(child, 0)[1]]
    if failed:
        sys.exit(f"{len(failed)} of {len(children)} runs failed")


if __name__ == "__main__":
    main()
