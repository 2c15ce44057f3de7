"""What learns on frozen features: the mix of their layers, perhaps a BiLSTM, and one linear layer.

Two texts are read apart, u and v, and compared as [u; v; |u - v|; u * v] (Mou et al. 2016; Conneau et al. 2017), or,
where their order means nothing, as [u + v; |u - v|; u * v].
"""

from typing import Literal

import torch
from torch import Tensor, nn

from lm.finetune.features.backbone import reversed_rows
from lm.finetune.schedule import concat_pooling
from lm.nn.layer_mix import ScalarMix
from lm.nn.recurrent import Recurrent


class FeatureHead(nn.Module):
    """On [depth, rows, time, width] features: a mix if `depth` is more than one; a BiLSTM of `lstm` units in each
    direction if that is not None; then for each position (`per_token`) or for the pooled text (`mean`, or `concat`:
    last, largest and mean) a linear layer, drawn from N(0, .02), its bias 0.

    `texts` 2: the rows are all first texts, then all second ones.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        outputs: int,
        *,
        per_token: bool = False,
        pooling: Literal["mean", "concat"] = "mean",
        lstm: int | None = None,
        dropout: float = 0.0,
        seed: int = 0,
        texts: int = 1,
        symmetric: bool = False,
    ) -> None:
        super().__init__()
        self.per_token, self.pooling, self.texts, self.symmetric = per_token, pooling, texts, symmetric
        self.mix = ScalarMix(depth) if depth > 1 else None
        self.lstms = nn.ModuleList(Recurrent("lstm", width, [lstm]) for _ in range(2)) if lstm else None
        state = 2 * lstm if lstm else width
        pooled = state if per_token or pooling == "mean" else 3 * state
        parts = 1 if texts == 1 else 3 if symmetric else 4
        self.dropout, self.linear = nn.Dropout(dropout), nn.Linear(parts * pooled, outputs)
        generator = torch.Generator().manual_seed(seed)
        for stack in self.lstms or ():
            assert isinstance(stack, Recurrent)
            for cells in stack.layers():
                cells["forward"].initialise(generator, None, 1.0)
        with torch.no_grad():
            self.linear.weight.normal_(0, 0.02, generator=generator)
            self.linear.bias.zero_()

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """[depth, rows, time, width] -> [rows / texts, outputs], or [rows, time, outputs] per token; `lengths`: int64
        [rows]."""
        real = torch.arange(features.shape[2], device=features.device) < lengths[:, None]
        states = self.states(features, lengths) * real[..., None]
        if self.per_token:
            scores: Tensor = self.linear(self.dropout(states))
            return scores
        pooled = concat_pooling(states, real) if self.pooling == "concat" else states.sum(1) / lengths[:, None]
        if self.texts == 2:
            u, v = pooled.unflatten(0, (2, -1))
            both = (u + v,) if self.symmetric else (u, v)
            pooled = torch.cat([*both, (u - v).abs(), u * v], -1)
        scores = self.linear(self.dropout(pooled))
        return scores

    def states(self, features: Tensor, lengths: Tensor) -> Tensor:
        """What is pooled, [rows, time, width]: the mix, or what the BiLSTM makes of it; padding is not read."""
        x: Tensor = features[0] if self.mix is None else self.mix(features)
        if self.lstms is None:
            return x
        forwards, backwards = self.lstms
        x = self.dropout(x)
        ahead, _ = forwards(x.transpose(0, 1))
        behind, _ = backwards(reversed_rows(x, lengths).transpose(0, 1))
        return torch.cat([ahead.transpose(0, 1), reversed_rows(behind.transpose(0, 1), lengths)], -1)
