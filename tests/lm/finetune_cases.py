"""Tiny backbones and labelled sets of every form, for the tests of fine-tuning."""

import random
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lm.artifact import save_model
from lm.labelled.folder import Split, Task, write_labelled
from lm.labelled.forms import (
    AnyForm,
    Classification,
    MultipleChoice,
    QuestionAnswering,
    Regression,
    Tagging,
)
from lm.models.bert import Bert
from lm.models.bert_config import BertConfig
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.modern import Modern
from lm.models.modern_config import ModernConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.models.transformer_xl import TransformerXL
from lm.models.transformer_xl_config import TransformerXLConfig
from lm.models.xlnet import XLNet
from lm.models.xlnet_config import XLNetConfig
from lm.tokenizer import load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig, WordPieceConfig

CLASSES = ("apples", "boats", "clouds")
WORDS = {
    "apples": ["red", "sweet", "round"],
    "boats": ["sail", "mast", "keel"],
    "clouds": ["grey", "rain", "high"],
}
COMMON = ["the", "a", "of", "with", "under", "over", "and", "then", "some", "very"]
PLACES = ["London", "Paris", "Rome"]
PEOPLE = ["Ada", "Bob", "Eve"]
EVERY = [
    "Smith",
    "Bridge",
    *COMMON,
    *PLACES,
    *PEOPLE,
    *(word for of in WORDS.values() for word in of),
    "who",
    "where",
    "is",
    "seen",
    "?",
]


def sentence(draw: random.Random, topic: str, low: int = 5, high: int = 12) -> str:
    return " ".join(draw.choice(COMMON + WORDS[topic]) for _ in range(draw.randint(low, high)))


def single(n: int, seed: int) -> list[dict[str, Any]]:
    """What is a text about?"""
    draw = random.Random(seed)
    return [
        {"id": f"{seed}-{i}", "text": sentence(draw, CLASSES[i % 3], 5, 30), "text_b": None, "label": i % 3}
        for i in range(n)
    ]


def pairs(n: int, seed: int) -> list[dict[str, Any]]:
    """Are both texts about the same?"""
    draw = random.Random(seed)
    rows = []
    for i in range(n):
        first = draw.choice(CLASSES)
        second = first if i % 2 else draw.choice([c for c in CLASSES if c != first])
        texts = {"text": sentence(draw, first), "text_b": sentence(draw, second)}
        rows.append({"id": f"{seed}-{i}", **texts, "label": i % 2})
    return rows


def similar(n: int, seed: int) -> list[dict[str, Any]]:
    """How many of a topic's words are in both texts?"""
    rows = pairs(n, seed)
    return [{**row, "label": 1.0 + 3.5 * row["label"] + 0.1 * (i % 5)} for i, row in enumerate(rows)]


def choices(n: int, seed: int) -> list[dict[str, Any]]:
    """Which continuation is about the same? Some examples have two of them, some three."""
    draw = random.Random(seed)
    rows = []
    for i in range(n):
        topic, label = draw.choice(CLASSES), i % 2
        others = [c for c in CLASSES if c != topic]
        topics = [others[0], others[1]][: 1 + i % 3 % 2]
        topics.insert(label, topic)
        row = {"context": sentence(draw, topic), "question": "and then" if i % 4 else ""}
        rows.append(
            {
                "id": f"{seed}-{i}",
                **row,
                "choices": [f"{draw.choice(WORDS[t])} {sentence(draw, t, 1, 3)}" for t in topics],
                "label": label,
            }
        )
    return rows


def tagged(n: int, seed: int) -> list[dict[str, Any]]:
    """People and places among other words."""
    draw = random.Random(seed)
    rows = []
    for i in range(n):
        words: list[str] = []
        tags: list[str] = []
        for _ in range(draw.randint(2, 5)):
            for _ in range(draw.randint(1, 3)):
                words.append(draw.choice(COMMON))
                tags.append("O")
            kind, names, second = draw.choice([("PER", PEOPLE, "Smith"), ("LOC", PLACES, "Bridge")])
            size = draw.randint(1, 2)
            words += [draw.choice(names), second][:size]
            tags += [f"B-{kind}", f"I-{kind}"][:size]
        rows.append({"id": f"{seed}-{i}", "words": words, "tags": tags})
    return rows


def questions(n: int, seed: int, unanswerable: bool = False) -> list[dict[str, Any]]:
    """Where or who? Every fourth question has no answer, if that may be."""
    draw = random.Random(seed)
    rows = []
    for i in range(n):
        names, question = ((PEOPLE, "who is seen ?"), (PLACES, "where is seen ?"))[i % 2]
        none = unanswerable and i % 4 == 3
        filler = [draw.choice(COMMON) for _ in range(draw.randint(4, 9))]
        place = draw.randrange(len(filler))
        answer = draw.choice(names)
        context = " ".join(filler if none else [*filler[:place], answer, *filler[place:]])
        rows.append(
            {
                "id": f"{seed}-{i}",
                "context": context,
                "question": question,
                "answers": [] if none else [answer],
                "starts": [] if none else [context.index(answer)],
            }
        )
    return rows


ASKS: dict[str, tuple[AnyForm, tuple[str, ...], Any]] = {
    "single": (Classification(classes=CLASSES), ("accuracy", "macro_f1", "matthews"), single),
    "pairs": (Classification(classes=("other", "same"), symmetric=True), ("f1", "accuracy"), pairs),
    "entailment": (Classification(classes=("other", "same")), ("accuracy",), pairs),
    "similarity": (Regression(low=1, high=5, symmetric=True), ("pearson", "spearman"), similar),
    "choice": (MultipleChoice(), ("accuracy",), choices),
    "tagging": (
        Tagging(tags=("O", "B-PER", "I-PER", "B-LOC", "I-LOC")),
        ("entity_f1", "accuracy"),
        tagged,
    ),
    "questions": (QuestionAnswering(), ("f1", "exact_match"), questions),
    "unanswerable": (
        QuestionAnswering(unanswerable=True),
        ("f1", "exact_match"),
        lambda n, seed: questions(n, seed, unanswerable=True),
    ),
}
"""By name: what is asked, the metrics, and what makes examples."""


def task(name: str) -> Task:
    ask, metrics, _ = ASKS[name]
    return Task(name=name, ask=ask, metrics=metrics)


def examples(name: str, n: int, seed: int = 0) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ASKS[name][2](n, seed)
    return rows


def write_set(folder: Path, name: str, train: int = 32, valid: int = 13, test: int = 14, same: bool = False) -> Path:
    """A labelled set; `same`: valid is train."""
    splits: dict[Split, list[dict[str, Any]]] = {"train": examples(name, train, 0)}
    splits["valid"] = splits["train"] if same else examples(name, valid, 1)
    if test:
        splits["test"] = examples(name, test, 2)
    write_labelled(folder, task(name), splits)
    return folder


CONTEXT = 48


def modern(vocab: int) -> Modern:
    """As if it had been trained a little: what ends in the residual stream begins at zero."""
    model = Modern(ModernConfig(layers=2, width=32, heads=2, context=CONTEXT, vocab=vocab), seed=7)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith(("out.weight", "contract.weight")):
                p.normal_(0, 0.1, generator=generator)
    return model


BACKBONES: dict[str, Any] = {
    "gpt": lambda vocab: GPT(GPTConfig(layers=2, width=32, heads=2, context=CONTEXT, vocab=vocab), seed=7),
    "gpt1": lambda vocab: GPT(
        GPTConfig(layers=2, width=32, heads=2, context=CONTEXT, vocab=vocab, norm="post"), seed=7
    ),
    "modern": lambda vocab: modern(vocab),
    "bert": lambda vocab: Bert(BertConfig(layers=2, width=64, heads=2, context=CONTEXT, vocab=vocab), seed=7),
    "roberta": lambda vocab: Bert(
        BertConfig(
            layers=2,
            width=32,
            heads=2,
            context=CONTEXT,
            vocab=vocab,
            segments=1,
            position_offset=1,
            pair_head=False,
        ),
        seed=7,
    ),
    "albert": lambda vocab: Bert(
        BertConfig(layers=2, width=32, heads=2, context=CONTEXT, vocab=vocab, embedding=16, shared_layers=True),
        seed=7,
    ),
    "xlnet": lambda vocab: XLNet(
        XLNetConfig(layers=2, width=32, heads=2, inner=64, context=CONTEXT, vocab=vocab), seed=7
    ),
    "transformer_xl": lambda vocab: TransformerXL(
        TransformerXLConfig(layers=2, width=32, heads=2, inner=64, memory=8, vocab=vocab), seed=7
    ),
    "rnn": lambda vocab: RNNLM(RNNConfig(embedding=24, width=32, layers=2, vocab=vocab), seed=7),
}
ENCODERS = ("bert", "roberta", "albert")


def tokenizer_folder(folder: Path, wordpiece: bool) -> Path:
    """A tokenizer of the words that the examples are made of."""
    config = WordPieceConfig(kind="wordpiece", vocab_size=300) if wordpiece else ByteBPEConfig(vocab_size=300)
    train_tokenizer([" ".join(EVERY)] * 20, config, folder)
    return folder


def backbone_folder(folder: Path, name: str) -> Path:
    """An untrained backbone as a model folder."""
    tokenizer = tokenizer_folder(folder / "tokenizer", name in ENCODERS)
    model: nn.Module = BACKBONES[name](load_tokenizer(tokenizer).get_vocab_size())
    save_model(model, tokenizer, folder / "model")
    return folder / "model"
