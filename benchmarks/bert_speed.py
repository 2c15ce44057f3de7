"""Speed of BERT pretraining: `python -m benchmarks.bert_speed --work FOLDER [--sizes bert-tiny] [--threads 2]`.

A step of our trainer (its checks, masks drawn as it goes, the head on masked positions only) and a step of a plain loop
around transformers' BertForPreTraining of the same size, in turn, on examples of 128 tokens of the same text: forward,
backward, clipping, AdamW, the loss read. Theirs is fed tensors made beforehand, labels at all positions, -100 where
nothing is masked, as its documentation says. Medians, and the quartiles of the ratio. With `--threads 1` seconds are
those of the processor. The text is that of benchmarks.bert_corpus; a larger `--vocab` has tokens that never occur.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import transformers

from benchmarks.bert_corpus import prepare
from lm.config import OptimizerConfig, TrainConfig
from lm.interop.bert import config_to_hugging_face
from lm.masked_examples import IGNORE, MaskedExamples
from lm.masking_config import MaskingConfig, SegmentsConfig
from lm.models.bert import Bert
from lm.models.bert_config import BertConfig, bert_preset
from lm.objectives.masked import MaskedObjective
from lm.order import numbered_by_epoch
from lm.tokenizer import load_tokenizer
from lm.train.hooks import Hooks
from lm.train.objective import Batch
from lm.train.trainer import Trainer

SKIPPED = 2


def clock() -> float:
    """Seconds: of the wall, or, with one thread, of the processor, which other work on the machine blurs less."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


class PlainLoop:
    """A plain loop around transformers' model, one step at a call."""

    def __init__(self, config: BertConfig, batches: list[Batch], bf16: bool) -> None:
        torch.manual_seed(0)
        settings = transformers.BertConfig(**config_to_hugging_face(config, 0))
        self.model = transformers.BertForPreTraining(settings).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
        self.batches, self.bf16, self.done = [self.inputs(batch) for batch in batches], bf16, 0

    @staticmethod
    def inputs(batch: Batch) -> dict[str, torch.Tensor]:
        labels = torch.full_like(batch["tokens"], IGNORE)
        row, column = torch.nonzero(batch["targets"] != IGNORE, as_tuple=True)
        labels[row, batch["positions"][row, column]] = batch["targets"][row, column]
        return {
            "input_ids": batch["tokens"],
            "token_type_ids": batch["segments"],
            "attention_mask": batch["real"].long(),
            "labels": labels,
            "next_sentence_label": batch["pair"],
        }

    def step(self) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            loss = self.model(**self.batches[self.done]).loss
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        loss.item()
        self.done += 1


def paired_steps(config: BertConfig, examples: MaskedExamples, batch: int, steps: int, bf16: bool) -> list[tuple]:
    """Seconds of each step of (our trainer, the plain loop), one after the other in turn."""
    order = [numbered_by_epoch(step * batch, batch, len(examples), 0) for step in range(steps)]
    plain = PlainLoop(config, [examples.batch(numbers) for numbers in order], bf16)
    train = TrainConfig(
        steps=steps,
        batch=batch,
        micro_batch=batch,
        device="cpu",
        precision="bf16" if bf16 else "fp32",
        optimizer=OptimizerConfig(learning_rate=1e-4, weight_decay=0.01),
        eval_interval=0,
        sample_interval=0,
        checkpoint_seconds=0,
    ).resolve_for(config.width, config.vocab, 20)
    pairs, began = [], [clock()]

    def turn(*_: int) -> None:
        """Between two steps of ours, one of the plain loop."""
        ours = clock()
        plain.step()
        theirs = clock()
        pairs.append((ours - began[0], theirs - ours))
        began[0] = clock()

    objective = MaskedObjective(pair=True, boundary=False)
    with tempfile.TemporaryDirectory() as directory:
        hooks, model = Hooks(on_progress=turn), Bert(config, seed=0)
        Trainer(model, objective, examples, train, steps, Path(directory), hooks=hooks, order=numbered_by_epoch).run()
    return pairs[SKIPPED:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sizes", nargs="+", default=["bert-tiny", "bert-mini"])
    parser.add_argument("--vocab", nargs="+", type=int, default=[8192, 30522])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    corpus = prepare(options.work)
    tokenizer = load_tokenizer(corpus.tokenizer)
    examples = MaskedExamples(corpus.valid, tokenizer, MaskingConfig(), SegmentsConfig(), 0)
    examples.batch(np.arange(2))
    for size in options.sizes:
        for vocab in options.vocab:
            for precision in options.precisions:
                config = bert_preset(size, vocab=vocab)
                pairs = paired_steps(config, examples, options.batch, options.steps, precision == "bf16")
                ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
                low, middle, high = statistics.quantiles([plain / mine for mine, plain in pairs], n=4)
                row = {
                    "size": size,
                    "vocab": vocab,
                    "precision": precision,
                    "batch": options.batch,
                    "threads": options.threads,
                    "milliseconds": {"ours": round(1e3 * ours, 1), "transformers": round(1e3 * theirs, 1)},
                    "ratio": round(middle, 2),
                    "quartiles": [round(low, 2), round(high, 2)],
                }
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
