"""What each kind of model is as an ONNX graph: its inputs, its outputs, and sizes that are free.

| kind | inputs | outputs |
|---|---|---|
| gpt, modern, nnlm, xlnet | tokens | logits of the next token |
| rnn, transformer_xl | tokens, the states to go on from | logits of the next token, the states after |
| bert | tokens, segments, real (False: padding) | logits of the token at each place, states (and pair_logits) |
| transformer, seq2seq | `lm.interop.onnx_translators` | |

Tokens are int64 [batch, time], both free, logits float32 [batch, time, vocab]. A recurrent model is exported with its
states in and out, so that one graph reads a whole text at once or goes on token by token; states of zeros have read
nothing. Its steps are a loop of the graph (`Scan`) around the cell's own equations (`lm.nn.recurrent`).
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from lm.abilities import cannot_write
from lm.artifact import described, load_model, load_torch
from lm.interop.onnx_graph import BATCH, GRAPH, TIME, Graph, Input
from lm.interop.onnx_translators import translator_graphs
from lm.models.bert import Bert
from lm.models.gpt import GPT
from lm.models.modern import Modern
from lm.models.nnlm import NNLM
from lm.models.rnn import RNNLM
from lm.models.transformer_xl import TransformerXL
from lm.models.xlnet import XLNet
from lm.nn.masks import Padding
from lm.nn.stateful import Stateful


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


GRAPHS: dict[str, Callable[[Path], list[Graph]]] = {
    "gpt": _whole(GPT),
    "modern": _whole(Modern),
    "nnlm": _whole(NNLM),
    "xlnet": _whole(XLNet),
    "rnn": _rnn,
    "transformer_xl": _transformer_xl,
    "bert": _bert,
    "transformer": translator_graphs,
    "seq2seq": translator_graphs,
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
