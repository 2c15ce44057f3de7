"""Instruction tuning on a real set written as conversations: what a small GPT says before and after.

    TEXTMILL_DATA=... python -m benchmarks.instruct MODEL [--language zh] [--train 600] [--valid 300] [--epochs 6]

English: TREC questions, the user asks and the assistant says what kind of answer is wanted. Chinese: hotel reviews, the
assistant says whether it is one of praise or one of complaint. Prints figures beside those of the most frequent answer,
and eight dev prompts with both answers; and the time of an epoch packed and unpacked.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lm.chat.config import ChatConfig
from lm.chat.conversations import read_talks
from lm.chat.objective import ConversationObjective
from lm.chat.packing import PackedConversations
from lm.chat.tokens import make_chat_tokenizer
from lm.chat.train import instruct, load_decoder
from lm.config import OptimizerConfig, ScheduleConfig, TrainConfig
from lm.labelled.folder import LabelledSet, Task, write_labelled
from lm.labelled.forms import Chat
from lm.labelled.streams import lines
from lm.train.hooks import Hooks
from lm.train.objective import step_totals

SETS = {
    "en": ("topic_en/trec/train.jsonl.zst", "label_name", {}),
    "zh": ("sentiment_zh/chnsenticorp_htl/train.jsonl.zst", "label", {"0": "差评", "1": "好评"}),
}


def conversations(language: str) -> list[dict[str, Any]]:
    """The whole set in an order of its own, every text once."""
    file, column, names = SETS[language]
    path = Path(os.environ["TEXTMILL_DATA"]) / "labelled" / file
    rows = {}
    for _, line in lines(path):
        record = json.loads(line)
        answer = str(record[column])
        said = [("user", record["text"]), ("assistant", names.get(answer, answer))]
        rows[record["text"]] = [{"role": role, "content": content} for role, content in said]
    made = [{"id": str(number), "messages": messages} for number, messages in enumerate(rows.values())]
    random.Random(0).shuffle(made)
    return made


def seconds_per_epoch(folder: Path, model: Path, packing: bool) -> tuple[float, int]:
    """Forward and backward of all training conversations, in batches of as many tokens; and the sequences."""
    decoder = load_decoder(model)
    context = decoder.config.context
    with tempfile.TemporaryDirectory() as name:
        tokenizer = make_chat_tokenizer(model, Path(name))
        talks = read_talks(LabelledSet(folder), "train", tokenizer, ChatConfig(), context)
    decoder = type(decoder)(decoder.config.model_copy(update={"vocab": tokenizer.tokenizer.get_vocab_size()}))  # type: ignore[arg-type]
    examples = PackedConversations([talk.tokens for talk in talks.kept], context, packing)
    objective, at_once = ConversationObjective(), 2 if packing else 16
    started = time.perf_counter()
    for start in range(0, len(examples), at_once):
        batch = examples.batch(np.arange(start, min(start + at_once, len(examples))))
        totals = step_totals(objective, [batch])
        (objective.losses(decoder, batch).terms["answers"].total / totals["answers"]).backward()
        decoder.zero_grad(set_to_none=True)
    return time.perf_counter() - started, len(examples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--language", choices=sorted(SETS), default="en")
    parser.add_argument("--train", type=int, default=600)
    parser.add_argument("--valid", type=int, default=300)
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = conversations(given.language)
    valid, train = rows[: given.valid], rows[given.valid : given.valid + given.train]
    wanted = [row["messages"][-1]["content"] for row in valid]
    frequent, _ = Counter(row["messages"][-1]["content"] for row in train).most_common(1)[0]
    config = TrainConfig(
        epochs=given.epochs,
        batch=2,
        optimizer=OptimizerConfig(learning_rate=1e-3, weight_decay=0.01),
        schedule=ScheduleConfig(final_fraction=0.0),
        sample_interval=10**6,
        select="best",
        seed=given.seed,
    )
    samples: dict[str, list[str]] = {}
    hooks = Hooks(on_sample=lambda step, prompt, text: samples.setdefault(prompt, []).append(text))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        task = Task(name="chats", language=given.language, ask=Chat(), metrics=("bits_per_byte",))
        write_labelled(root / "set", task, {"train": train, "valid": valid})
        settings = ChatConfig(answers=None, answer_tokens=12, samples=8)
        started = time.perf_counter()
        result = instruct(root / "set", given.model, settings, config, root / "c", root / "m", hooks=hooks)
        took = time.perf_counter() - started
        times = {packing: seconds_per_epoch(root / "set", given.model, packing) for packing in (True, False)}
    print(f"train {result['train']}\nvalid {result['valid']}\nsteps {result['step']}, best {result['best_step']}")
    print(f"bits per byte of answers: {result['untrained']['bits_per_byte']:.3f} before, ", end="")
    print(f"{result['valid']['bits_per_byte']:.3f} after")
    print(f"exact match: {result['valid']['exact_match']:.1f} %, always {frequent!r}: ", end="")
    print(f"{100 * wanted.count(frequent) / len(wanted):.1f} %; {took:.0f} s")
    (packed, sequences), (alone, single) = times[True], times[False]
    print(f"an epoch: {packed:.1f} s in {sequences} sequences, {alone:.1f} s in {single} ({alone / packed:.2f} times)")
    for prompt, (before, *_, after) in samples.items():
        print(f"{prompt[:110]!r}\n  before {before[:70]!r}\n  after  {after!r}")


if __name__ == "__main__":
    main()
