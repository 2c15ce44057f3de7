"""Encoder-decoders as two ONNX graphs, `encoder.onnx` and `decoder.onnx`, for a search that calls the second one often.

| kind | graph | inputs | outputs |
|---|---|---|---|
| transformer | encoder | source, lengths | memory |
| | decoder | the target so far, memory, lengths | logits behind each of its tokens |
| seq2seq | encoder | source, lengths | (annotations, keys,) the decoder's first states |
| | decoder | one target token (, annotations, keys, lengths), states | logits behind it, the states after |

What stands in parentheses is there with attention only. The source ends with its end token and is padded on the right;
the target begins with the end token of its own tokenizer.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from lm.interop.onnx_graph import BATCH, LONGEST, SOURCE, TIME, Graph, Input
from lm.models.encoder_decoder import real_positions
from lm.models.seq2seq import Reading, Seq2Seq
from lm.models.transformer import Transformer
from lm.translator import load_translator

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"


def translator_graphs(folder: Path) -> list[Graph]:
    """Both graphs of the translator of a folder."""
    model = load_translator(folder).model
    source = Input("source", (BATCH, SOURCE), below=model.config.source_vocab)
    given = (source, Input("lengths", (BATCH,), below=SOURCE))
    return _seq2seq(model, given) if isinstance(model, Seq2Seq) else _transformer(model, given)


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


def _transformer(model: Transformer, given: tuple[Input, Input]) -> list[Graph]:
    model.reserve_positions(LONGEST)
    inputs = Input("inputs", (BATCH, TIME), below=model.config.target_vocab)
    memory = Input("memory", (BATCH, SOURCE, model.config.width), torch.float32)
    return [
        Graph(ENCODER, _Encoder(model), given, ("memory",), {SOURCE: LONGEST}),
        Graph(DECODER, _Decoder(model), (inputs, memory, given[1]), ("logits",), {SOURCE: LONGEST, TIME: LONGEST}),
    ]


class _Reader(nn.Module):
    """What a recurrent encoder leaves to its decoder."""

    def __init__(self, model: Seq2Seq) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        return _left(self.model, self.model.start(source, lengths))


class _Writer(nn.Module):
    """One step of a recurrent decoder."""

    def __init__(self, model: Seq2Seq, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, tokens: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        left = dict(zip(self.names, states, strict=True))
        annotations = left.pop("annotations", tokens.new_zeros(1, 1, 1))
        keys, lengths = left.pop("keys", annotations), left.pop("lengths", None)
        real = annotations if lengths is None else real_positions(lengths, annotations.shape[1])
        logits, after = self.model.step(tokens, Reading(annotations, keys, real, left, left.pop("fed", None)))
        return (logits, *_states(after).values())


def _left(model: Seq2Seq, reading: Reading) -> tuple[Tensor, ...]:
    seen = () if model.alignment is None else (reading.annotations, reading.keys.clone())
    return (*seen, *_states(reading).values())


def _states(reading: Reading) -> dict[str, Tensor]:
    return reading.states | ({} if reading.fed is None else {"fed": reading.fed})


def _seq2seq(model: Seq2Seq, given: tuple[Input, Input]) -> list[Graph]:
    with torch.no_grad():
        example = model.start(torch.zeros(1, 2, dtype=torch.int64), torch.tensor([2]))
    looked = {} if model.alignment is None else {"annotations": example.annotations, "keys": example.keys}
    states = _states(example)
    seen = [Input(name, (BATCH, SOURCE, x.shape[2]), torch.float32, is_state=True) for name, x in looked.items()]
    seen += [Input("lengths", (BATCH,), below=SOURCE, is_state=True)] if looked else []
    carried = [
        Input(f"state.{name}", (BATCH, *x.shape[1:]), torch.float32, is_state=True) for name, x in states.items()
    ]
    token = Input("token", (BATCH,), below=model.config.target_vocab)
    names = (*(each.name for each in seen), *states)
    after = ("logits", *(f"after.{name}" for name in states))
    return [
        Graph(ENCODER, _Reader(model), given, (*looked, *(each.name for each in carried)), {}),
        Graph(DECODER, _Writer(model, names), (token, *seen, *carried), after, {}),
    ]
