"""Small models, sets and conversations for the tests of `lm.chat`."""

import random
from pathlib import Path
from typing import Any

from lm.artifact import save_model
from lm.config import OptimizerConfig, TrainConfig
from lm.labelled.folder import Task, write_labelled
from lm.labelled.forms import Chat, Generation
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.modern import Modern
from lm.models.modern_config import ModernConfig
from lm.tokenizer import load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig

COLOURS = {"grass": "green", "sky": "blue", "snow": "white", "天空": "蓝色"}


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def conversation(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    """The user and the assistant in turn."""
    said = [turn(("user", "assistant")[n % 2], content) for n, content in enumerate(contents)]
    return said if system is None else [turn("system", system), *said]


def chats(count: int, seed: int) -> list[dict[str, Any]]:
    """Conversations about what colour a thing has, of one or two questions."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        things = draw.sample(sorted(COLOURS), 1 + number % 2)
        contents = [text for thing in things for text in (f"What colour is {thing}?", COLOURS[thing])]
        rows.append({"id": f"{seed}:{number}", "messages": conversation(*contents)})
    return rows


def chat_set(folder: Path, train: int = 24, valid: int = 6) -> Path:
    task = Task(name="colours", ask=Chat(), metrics=("bits_per_byte",))
    write_labelled(folder, task, {"train": chats(train, 1), "valid": chats(valid, 2), "test": chats(3, 4)})
    return folder


def pair_set(folder: Path, rows: list[tuple[str, str]]) -> Path:
    task = Task(name="pairs", ask=Generation(), metrics=("bleu",))
    examples = [{"id": str(number), "source": s, "target": t} for number, (s, t) in enumerate(rows)]
    write_labelled(folder, task, {"train": examples, "valid": examples[:2]})
    return folder


def tokenizer_folder(folder: Path) -> Path:
    texts = [message["content"] for row in chats(30, 3) for message in row["messages"]]
    train_tokenizer(texts, ByteBPEConfig(vocab_size=300), folder)
    return folder


def backbone_folder(folder: Path, kind: str = "gpt", context: int = 48, **changes: Any) -> Path:
    """An untrained model with its tokenizer."""
    tokenizer = tokenizer_folder(folder.parent / f"{folder.name}-tokenizer")
    vocab = load_tokenizer(tokenizer).get_vocab_size()
    size: dict[str, Any] = {"layers": 2, "width": 32, "heads": 2, "context": context, "vocab": vocab, **changes}
    model = GPT(GPTConfig(**size), seed=3) if kind == "gpt" else Modern(ModernConfig(**size), seed=3)
    save_model(model, tokenizer, folder)
    return folder


def train_config(**changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "steps": 12,
        "batch": 4,
        "micro_batch": 2,
        "device": "cpu",
        "precision": "fp32",
        "optimizer": OptimizerConfig(learning_rate=0.01),
        "eval_interval": 5,
        "sample_interval": 6,
        "checkpoint_interval": 3,
        "checkpoint_seconds": 0,
        "keep_last": 1,
    }
    return TrainConfig(**{**settings, **changes})
