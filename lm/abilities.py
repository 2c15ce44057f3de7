"""What can be done with a model of each kind: one table for the commands, their messages and the book of models.

A kind is what `config.json` of a model folder says. Importable without torch.
"""

from collections.abc import Iterator
from typing import NamedTuple

NOT = {
    "score": "scores no text",
    "generate": "does not continue a text",
    "fill": "fills no gaps",
    "translate": "does not translate",
    "embed": "gives texts no vectors",
    "neighbours": "has no word vectors",
    "predict": "was not fine-tuned for a task",
}
"""The commands that ask a model, and what is said of one that they cannot ask."""

WHY = {
    ("bert", "generate"): "a masked language model does not continue a text",
    ("ngram", "embed"): "an n-gram model has counts and no vectors",
}
"""What is said instead where a kind has a reason of its own."""

TARGETS = ("hf", "onnx", "arpa", "word2vec", "mlflow")
"""What `textmill export --to` writes; `textmill import` reads the first, the third and the fourth."""


class Kind(NamedTuple):
    """A kind of model. `asked`: the commands; `written`, `read`: the formats of export and import."""

    name: str
    asked: tuple[str, ...]
    written: tuple[str, ...] = ()
    read: tuple[str, ...] = ()


PROBABILITY = ("score", "generate")
VECTORS = ("embed", "neighbours")

KINDS: dict[str, Kind] = {
    "ngram": Kind("n-grams", (*PROBABILITY, "fill"), ("arpa",), ("arpa",)),
    "nnlm": Kind("Bengio's network", (*PROBABILITY, *VECTORS), ("onnx", "word2vec")),
    "rnn": Kind("RNN, GRU, LSTM", (*PROBABILITY, "embed"), ("onnx",)),
    "word2vec": Kind("word2vec", VECTORS, ("word2vec",), ("word2vec",)),
    "glove": Kind("GloVe", VECTORS, ("word2vec",)),
    "seq2seq": Kind("sequence to sequence", ("translate", "embed"), ("onnx",)),
    "transformer": Kind("the Transformer", ("translate", "embed"), ("onnx",)),
    "elmo": Kind("ELMo", (*PROBABILITY, "embed")),
    "gpt": Kind("GPT-1, GPT-2, GPT-3", (*PROBABILITY, "embed"), ("hf", "onnx"), ("hf",)),
    "bert": Kind("BERT and its kin", ("score", "fill", "embed"), ("hf", "onnx"), ("hf",)),
    "transformer_xl": Kind("Transformer-XL", (*PROBABILITY, "embed"), ("onnx",)),
    "xlnet": Kind("XLNet", (*PROBABILITY, "embed"), ("hf", "onnx"), ("hf",)),
    "modern": Kind("the modern decoder", (*PROBABILITY, "embed"), ("onnx",)),
    "finetuned": Kind("any of them, fine-tuned", ("predict",), ("mlflow",)),
}
"""In the order of history."""


def able(command: str) -> tuple[str, ...]:
    """The kinds that a command can ask."""
    return tuple(kind for kind, of in KINDS.items() if command in of.asked)


def held(target: str) -> tuple[str, ...]:
    """The kinds that `textmill export --to TARGET` writes."""
    return tuple(kind for kind, of in KINDS.items() if target in of.written)


def cannot(kind: str, command: str) -> str:
    """Why a command refuses a model of a kind, which kinds it takes, and what takes this one."""
    why = WHY.get((kind, command), f"a model of kind {kind!r} {NOT[command]}")
    takes = [f"`{taken}`" for taken in commands(kind)] if kind in KINDS else []
    return f"{why}; {_listed(able(command))} can be asked for that" + _this_one(takes)


def cannot_write(kind: str, target: str) -> str:
    """Why a model of a kind is not written to a format, which kinds are, and what takes this one."""
    written = KINDS[kind].written if kind in KINDS else ()
    others = [f"--to {other}" for other in written]
    return f"{target} holds models of kind {_listed(held(target))}, not {kind!r}" + _this_one(others)


def commands(kind: str) -> Iterator[str]:
    """The commands that take a model of a kind."""
    of = KINDS[kind]
    yield from (f"textmill {command}" for command in of.asked)
    yield from (f"textmill export --to {target}" for target in of.written)


def table() -> str:
    """The table as Markdown, a row for each kind."""
    lines = [
        "| kind | model | " + " | ".join(NOT) + " | `export --to` | `import` |",
        "|---|---|" + "---|" * (len(NOT) + 2),
    ]
    for kind, of in KINDS.items():
        cells = ["yes" if command in of.asked else "" for command in NOT]
        lines.append(f"| `{kind}` | {of.name} | {' | '.join(cells)} | {', '.join(of.written)} | {', '.join(of.read)} |")
    return "\n".join(lines) + "\n"


def _this_one(takes: list[str]) -> str:
    return f" (this one: {', '.join(takes)})" if takes else ""


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
