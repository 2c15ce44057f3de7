"""What each kind of model is as an ONNX graph: its inputs, its outputs, and sizes that are free.

| kind | inputs | outputs |
|---|---|---|
| gpt, modern, nnlm, xlnet | tokens | logits of the next token |
| rnn, transformer_xl | tokens, the states to go on from | logits of the next token, the states after |
| bert | tokens, segments, real (False: padding) | logits of the token at each place, states (and pair_logits) |
| transformer | encoder: source, lengths; decoder: inputs, memory, lengths | memory; logits of the next token |

Tokens are int64 [batch, time], both free, logits float32 [batch, time, vocab]. A recurrent model is exported with its
states in and out, so that one graph reads a whole text at once or goes on token by token; states of zeros have read
nothing. Its steps are a loop of the graph (`Scan`) around the cell's own equations (`lm.nn.recurrent`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lm.abilities import cannot_write
from lm.artifact import described, load_model, load_torch
from lm.models.bert import Bert
from lm.models.gpt import GPT
from lm.models.modern import Modern
from lm.models.nnlm import NNLM
from lm.models.rnn import RNNLM
from lm.models.transformer import Transformer
from lm.models.transformer_xl import TransformerXL
from lm.models.xlnet import XLNet
from lm.nn.masks import Padding
from lm.nn.stateful import Stateful
from lm.translator import load_translator

GRAPH = "model.onnx"
BATCH, TIME, SOURCE = "batch", "time", "source_time"
LONGEST = 1024
"""Tokens of either side of a translation; a graph's table of positions ends somewhere."""
Sizes = dict[str, int]


@dataclass(frozen=True)
class Input:
    """An input of a graph. shape: of each axis its size, or the name of a free one; `below`: of int64, the values."""

    name: str
    shape: tuple[int | str, ...]
    dtype: torch.dtype = torch.int64
    below: int | str = 0
    is_state: bool = False

    def draw(self, sizes: Sizes, generator: torch.Generator) -> Tensor:
        """Values at random; a `below` that names an axis stands for lengths from 1 to its size."""
        shape = [sizes[axis] if isinstance(axis, str) else axis for axis in self.shape]
        if self.dtype == torch.float32:
            return torch.randn(shape, generator=generator)
        if self.dtype == torch.bool:
            return torch.arange(shape[1]) < torch.randint(1, shape[1] + 1, (shape[0], 1), generator=generator)
        if isinstance(self.below, str):
            return torch.randint(1, sizes[self.below] + 1, shape, generator=generator)
        return torch.randint(0, self.below, shape, generator=generator)


@dataclass(frozen=True)
class Graph:
    """A module with tensors in and out, in eval mode. longest: of the free axes that have a largest size, that one."""

    file: str
    module: nn.Module
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    longest: Sizes

    def draw(self, sizes: Sizes, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Inputs at random for sizes of the free axes."""
        return tuple(each.draw(sizes, generator) for each in self.inputs)


class _Whole(nn.Module):
    """Tokens to logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.model(tokens)
        return logits


class _Masked(nn.Module):
    """BERT: every head that says something of every place or of the text."""

    def __init__(self, model: Bert) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, segments: Tensor, real: Tensor) -> tuple[Tensor, ...]:
        hidden = self.model.hidden_states(tokens, segments, Padding(real))
        pair = () if self.model.pair_head is None else (self.model.pair_logits(hidden),)
        return (self.model.masked_logits(hidden), hidden, *pair)


class _Stateful(nn.Module):
    """A model that reads on where it stopped: tokens and states in, logits and states out."""

    def __init__(self, model: Stateful, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, tokens: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        reading = self.model.read(tokens, dict(zip(self.names, states, strict=True)))
        return (self.model.logits(reading.dropped), *(reading.states[name] for name in self.names))


class _Encoder(nn.Module):
    """What a Transformer's encoder says of each source token."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor, lengths: Tensor) -> Tensor:
        return self.model.encode(source, lengths)


class _Decoder(nn.Module):
    """What a Transformer's decoder says of the token behind each target token."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, memory: Tensor, lengths: Tensor) -> Tensor:
        return self.model.decode(inputs, memory, lengths)


def _tokens(model: nn.Module) -> Input:
    return Input("tokens", (BATCH, TIME), below=model.config.vocab)  # type: ignore[union-attr, arg-type]


def _whole(of: type[nn.Module]) -> Callable[[Path], list[Graph]]:
    def graphs(folder: Path) -> list[Graph]:
        model = load_model(folder)[0] if of is GPT else load_torch(folder, of)[0]
        longest = {TIME: context} if (context := getattr(model.config, "context", None)) else {}
        return [Graph(GRAPH, _Whole(model), (_tokens(model),), ("logits",), longest)]

    return graphs


def _bert(folder: Path) -> list[Graph]:
    model, _ = load_torch(folder, Bert)
    segments = Input("segments", (BATCH, TIME), below=model.config.segments)
    inputs = (_tokens(model), segments, Input("real", (BATCH, TIME), torch.bool))
    outputs = ("logits", "states", *(["pair_logits"] if model.pair_head is not None else []))
    return [Graph(GRAPH, _Masked(model), inputs, outputs, {TIME: model.config.context})]


def _rnn(folder: Path) -> list[Graph]:
    model, _ = load_torch(folder, RNNLM)
    return _stateful(model, model.recurrent.new_states(1))


def _transformer_xl(folder: Path) -> list[Graph]:
    model, _ = load_torch(folder, TransformerXL)
    return _stateful(model, model.new_states(1))


def _stateful(model: Stateful, states: dict[str, Tensor]) -> list[Graph]:
    given = [
        Input(f"state.{name}", (BATCH, *state.shape[1:]), state.dtype, below=1, is_state=True)
        for name, state in states.items()
    ]
    outputs = ("logits", *(f"after.{name}" for name in states))
    return [Graph(GRAPH, _Stateful(model, tuple(states)), (_tokens(model), *given), outputs, {})]


def _transformer(folder: Path) -> list[Graph]:
    model = load_translator(folder).model
    assert isinstance(model, Transformer)
    model.reserve_positions(LONGEST)
    lengths, sides = Input("lengths", (BATCH,), below=SOURCE), {SOURCE: LONGEST, TIME: LONGEST}
    source = Input("source", (BATCH, SOURCE), below=model.config.source_vocab)
    inputs = Input("inputs", (BATCH, TIME), below=model.config.target_vocab)
    memory = Input("memory", (BATCH, SOURCE, model.config.width), torch.float32)
    return [
        Graph("encoder.onnx", _Encoder(model), (source, lengths), ("memory",), sides),
        Graph("decoder.onnx", _Decoder(model), (inputs, memory, lengths), ("logits",), sides),
    ]


GRAPHS: dict[str, Callable[[Path], list[Graph]]] = {
    "gpt": _whole(GPT),
    "modern": _whole(Modern),
    "nnlm": _whole(NNLM),
    "xlnet": _whole(XLNet),
    "rnn": _rnn,
    "transformer_xl": _transformer_xl,
    "bert": _bert,
    "transformer": _transformer,
}
"""The graphs of a model folder, by its kind."""


def graphs_of(folder: Path) -> list[Graph]:
    """The graphs of the model of a folder, in eval mode. Raises ValueError for a kind that has none."""
    kind = described(folder).get("kind", "gpt")
    if kind not in GRAPHS:
        raise ValueError(f"{folder}: {cannot_write(kind, 'onnx')}")
    found = GRAPHS[kind](folder)
    for graph in found:
        graph.module.eval()
    return found
