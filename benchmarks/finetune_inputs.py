"""What inputs of fine-tuning lose of real sets, and how fast they are made: `python -m benchmarks.finetune_inputs`.

An oracle that gives the labelled token the highest score is asked for answers: what it gets wrong no model could get
right, because the answer crosses a window, is longer than `max_answer`, or its characters are no tokens. Needs
TEXTMILL_DATA.
"""

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from flows.config.loading import CONFIGS
from flows.config.task import load_task
from flows.task_sets import build_task
from lm.finetune.config import FinetuneConfig
from lm.finetune.forms.choose import form_of
from lm.finetune.forms.tagging import NOT_SCORED
from lm.finetune.run import as_predictions
from lm.labelled.folder import LabelledSet
from lm.models.bert_config import BertConfig
from lm.models.gpt_config import GPTConfig
from lm.tokenizer import load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig, WordPieceConfig
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store

TASKS = ("squad-shifts", "cmrc-2018", "conll-2003", "msra")


def main() -> None:
    """A line for each set and kind of tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--tokens", type=int, default=128)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for name in TASKS:
            limits = {f"limits.{split}": str(arguments.examples) for split in ("train", "valid")}
            config = load_task(CONFIGS / "tasks" / "local" / f"{name}.yaml", limits)
            with use_run(Run(Store(root / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
                made = build_task(config)
            labelled = LabelledSet(made.path)
            rows = labelled.read("train").to_pylist()
            for kind in ("wordpiece", "byte_bpe"):
                print(
                    name, kind, *_measured(labelled, rows, kind, arguments.tokens, root / f"{name}-{kind}"), flush=True
                )


def _measured(labelled: LabelledSet, rows: list[dict[str, Any]], kind: str, tokens: int, folder: Path) -> list[str]:
    texts = [row["context"] if "context" in row else " ".join(row["words"]) for row in rows]
    chosen: Any = (
        WordPieceConfig(kind="wordpiece", vocab_size=8000) if kind == "wordpiece" else ByteBPEConfig(vocab_size=8000)
    )
    train_tokenizer(texts, chosen, folder)
    tokenizer = load_tokenizer(folder)
    vocab = tokenizer.get_vocab_size()
    settings: Any = BertConfig(vocab=vocab) if kind == "wordpiece" else GPTConfig(vocab=vocab)
    config = FinetuneConfig(max_tokens=tokens).resolve(settings)
    form: Any = form_of(labelled.task.ask, config, settings, vocab, tokenizer)
    started = time.perf_counter()
    items = form.items(rows)
    made = time.perf_counter() - started
    if hasattr(items, "targets"):
        outputs = [np.zeros((len(row.tokens), 2), np.float32) for row in items.rows]
        for of, (start, end, weight) in zip(outputs, items.targets, strict=True):
            if weight:
                of[start, 0] += 5
                of[end, 1] += 5
                if start == end and start in (0, len(of) - 1):  # no answer here: no span may beat one that is
                    of[:] -= 50
    else:
        classes = np.arange(form.outputs)
        outputs = [np.where(tags[:, None] == classes, 5.0, 0.0) * (tags[:, None] != NOT_SCORED) for tags in items.tags]
    if hasattr(items, "targets"):
        form.max_answer = form.longest_answer(items)
    started = time.perf_counter()
    answers = form.answers(items, outputs)
    decoded = time.perf_counter() - started
    scores = as_predictions(labelled.task, rows, answers).scores()
    figures = {name: scores[name] for name in labelled.task.metrics}
    lost = f"{int((items.targets[:, 2] == 0).sum())} windows of unfound answers" if hasattr(items, "targets") else ""
    return [
        f"{len(rows)} examples, {len(items)} windows of {tokens}, made in {made:.2f} s, decoded in {decoded:.2f} s,",
        ", ".join(f"{name} {value:.4f}" for name, value in figures.items()),
        lost,
    ]


if __name__ == "__main__":
    sys.exit(main())
