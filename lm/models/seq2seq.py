"""Sequence to sequence with recurrent networks (Sutskever et al. 2014; Bahdanau et al. 2015; Luong et al. 2015).

encoder    h_1 .. h_S = cells(E_x[x_1] .. E_x[x_S])              annotations of the source; x_S is the end token
           s_0 = the encoder's last state                        bidirectional: tanh(W <h_1), of the backward cells
decoder    s_t = cells(E_y[y_{t-1}], s_{t-1})                    y_0 is the end token
           p(y_t) = softmax(V o_t + b)

attention: none          o_t = s_t
           dot, general  o_t = tanh(W_c [s_t; c_t])              c_t: what s_t looks at (lm/nn/alignment.py)
                         input_feeding: o_{t-1} stands beside E_y[y_{t-1}]
           additive      c_t is what s_{t-1} looks at and stands beside E_y[y_{t-1}]
                         o_t = maxout(W_o [s_t; c_t; E_y[y_{t-1}]])   (Bahdanau's equation 4; his appendix has s_{t-1})
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.encoder_decoder import real_positions
from lm.models.seq2seq_config import Seq2SeqConfig
from lm.nn.alignment import Alignment
from lm.nn.recurrent import BACKWARD, FORWARD, Recurrent


@dataclass(frozen=True)
class Reading:
    """What a decoder knows: of the source, and of the target so far. Rows are hypotheses."""

    annotations: Tensor
    keys: Tensor
    real: Tensor
    states: dict[str, Tensor]
    fed: Tensor | None

    def select(self, rows: Tensor) -> "Reading":
        return Reading(
            self.annotations[rows],
            self.keys[rows],
            self.real[rows],
            {name: state[rows] for name, state in self.states.items()},
            None if self.fed is None else self.fed[rows],
        )


class Seq2Seq(nn.Module):
    """The model. `seed` decides the initial weights, and nothing else does."""

    def __init__(self, config: Seq2SeqConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = c = config
        self.target_embedding = nn.Embedding(c.target_vocab, c.embedding)
        # One matrix has one name: it is stored and trained once.
        self.own_source_embedding = None if c.shared_embedding else nn.Embedding(c.source_vocab, c.embedding)
        widths = (c.width,) * c.layers
        self.encoder = Recurrent(c.cell, c.embedding, widths, bidirectional=c.bidirectional, dropout=c.dropout)
        self.stepwise = c.attention == "additive" or c.input_feeding
        self.decoder = Recurrent(
            c.cell, c.decoder_inputs, widths, dropout=c.dropout, path="cells" if self.stepwise else "auto"
        )
        names = [name.replace(".", "_") for name in self.decoder.new_states(1)]
        self.bridge = nn.ModuleDict({name: nn.Linear(c.width, c.width) for name in names if c.bidirectional})
        self.alignment = None if c.attention == "none" else Alignment(c.attention, c.width, c.memory)
        self.out: nn.Linear | None = None
        if c.attention == "additive":
            self.out = nn.Linear(c.width + c.memory + c.embedding, 2 * c.readout)
        elif c.attention != "none":
            self.out = nn.Linear(c.width + c.memory, c.readout, bias=False)
        self.head = None if c.tied else nn.Linear(c.readout, c.target_vocab, bias=False)
        self.head_bias = nn.Parameter(torch.zeros(c.target_vocab))
        self.initialise(seed)

    @property
    def source_embedding(self) -> nn.Embedding:
        return self.target_embedding if self.own_source_embedding is None else self.own_source_embedding

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """As `Seq2SeqConfig.initial_span` and `forget_bias` say."""
        generator, c = torch.Generator().manual_seed(seed), self.config

        def uniform(weight: Tensor, span: float) -> None:
            # Drawn in fp32 on the CPU: the same weights whatever the device and the default dtype.
            weight.copy_(torch.empty(weight.shape, dtype=torch.float32).uniform_(-span, span, generator=generator))

        for stack in (self.encoder, self.decoder):
            for cells in stack.layers():
                for cell in cells.values():
                    cell.initialise(generator, c.initial_span, c.forget_bias)
        for name, p in self.named_parameters():
            if name.startswith(("encoder.", "decoder.")):
                continue
            if c.initial_span is not None:
                uniform(p, c.initial_span)
            elif "embedding" in name:
                uniform(p, 0.1)
            elif name.endswith("bias"):
                p.zero_()
            else:
                uniform(p, 1 / math.sqrt(p.shape[-1]))

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Annotations [batch, time, memory], zero at padding, and the states after the last token."""
        c, order = self.config, None
        if c.reverse_source:
            order = _reversed_order(lengths, source.shape[1])
            source = source.gather(1, order)
        whole = not torch.compiler.is_exporting() and bool((lengths == source.shape[1]).all())
        padded = None if whole else lengths
        x = F.dropout(self.source_embedding(source.t()), c.dropout, self.training)
        outputs, states = self.encoder(x, lengths=padded)
        annotations = outputs.transpose(0, 1)
        if order is not None:
            annotations = annotations.gather(1, order[..., None].expand_as(annotations))
        return annotations, states

    def start(self, source: Tensor, lengths: Tensor) -> Reading:
        """Read the source (`EncoderDecoder.start`)."""
        annotations, after = self.encode(source, lengths)
        keys = annotations if self.alignment is None else self.alignment.keys(annotations)
        real = real_positions(lengths, source.shape[1])
        fed = annotations.new_zeros(source.shape[0], self.config.readout) if self.config.input_feeding else None
        return Reading(annotations, keys, real, self._handed_over(after), fed)

    def _handed_over(self, after: dict[str, Tensor]) -> dict[str, Tensor]:
        """The decoder's first states from the encoder's last ones, layer by layer."""
        if not self.config.bidirectional:
            return after
        states = {}
        for name, state in after.items():
            layer, direction, part = name.split(".")
            if direction != BACKWARD:
                continue
            projected = self.bridge[f"{layer}_{FORWARD}_{part}"](state)
            # h lies in ±1 and c, an LSTM's memory, does not
            states[f"{layer}.{FORWARD}.{part}"] = (torch.tanh(projected) if part == "h" else projected).to(state.dtype)
        return states

    def decode(self, inputs: Tensor, before: Reading) -> tuple[Tensor, Tensor | None, Reading]:
        """Read target tokens, int64 [batch, time]: o_t [batch, time, readout], what they looked at [batch, time,
        source] (None without attention), and the state after them."""
        vectors = F.dropout(self.target_embedding(inputs), self.config.dropout, self.training)
        if self.stepwise:
            return self._decode_stepwise(vectors, before)
        outputs, states = self.decoder(vectors.transpose(0, 1), before.states)
        top, weights = outputs.transpose(0, 1), None
        if self.alignment is not None and self.out is not None:
            seen, weights = self.alignment(top, before.keys, before.annotations, before.real)
            top = torch.tanh(self.out(torch.cat([top, seen], -1)))
        return top, weights, replace(before, states=states)

    def _decode_stepwise(self, vectors: Tensor, now: Reading) -> tuple[Tensor, Tensor, Reading]:
        """Where what enters a step is known only after the one before."""
        assert self.alignment is not None
        assert self.out is not None
        outputs, looked = [], []
        top = f"{self.config.layers - 1}.{FORWARD}.h"
        for x in vectors.unbind(1):
            if now.fed is not None:
                outputs_t, states = self.decoder(torch.cat([x, now.fed], -1)[None], now.states)
                s = outputs_t[0]
                seen, weights = self.alignment(s[:, None], now.keys, now.annotations, now.real)
                o = torch.tanh(self.out(torch.cat([s, seen[:, 0]], -1)))
                now = replace(now, states=states, fed=o)
            else:
                seen, weights = self.alignment(now.states[top][:, None], now.keys, now.annotations, now.real)
                outputs_t, states = self.decoder(torch.cat([x, seen[:, 0]], -1)[None], now.states)
                pairs = self.out(torch.cat([outputs_t[0], seen[:, 0], x], -1))
                o = pairs.view(x.shape[0], -1, 2).amax(-1)
                now = replace(now, states=states)
            outputs.append(o)
            looked.append(weights[:, 0])
        return torch.stack(outputs, 1), torch.stack(looked, 1), now

    def logits(self, readout: Tensor) -> Tensor:
        """Scores of target tokens from o_t: [..., readout] -> [..., target_vocab]."""
        dropped = F.dropout(readout, self.config.dropout, self.training)
        weight = self.target_embedding.weight if self.head is None else self.head.weight
        return F.linear(dropped, weight, self.head_bias)

    def forward(self, source: Tensor, lengths: Tensor, inputs: Tensor) -> Tensor:
        """Logits of the token after each of `inputs` (`EncoderDecoder`)."""
        return self.logits(self.decode(inputs, self.start(source, lengths))[0])

    def step(self, tokens: Tensor, state: Reading) -> tuple[Tensor, Reading]:
        """One target token of each row (`EncoderDecoder.step`)."""
        readout, _, state = self.decode(tokens[:, None], state)
        return self.logits(readout[:, 0]), state

    def alignments(self, source: Tensor, lengths: Tensor, inputs: Tensor) -> Tensor | None:
        """a_tj, [batch, target, source] (`EncoderDecoder.alignments`)."""
        return self.decode(inputs, self.start(source, lengths))[1]


def _reversed_order(lengths: Tensor, time: int) -> Tensor:
    """Which token is read at each step when all but the end token are turned round: its own inverse."""
    at = torch.arange(time, device=lengths.device).expand(lengths.shape[0], time)
    last = lengths[:, None] - 2
    return torch.where(at <= last, last - at, at)
