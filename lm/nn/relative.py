"""Relative positions in attention (Dai et al. 2019, "Transformer-XL", section 3.3).

The score of a query at position i for a key at position j, with E the states and R_{i-j} a sinusoid of the distance:

A_ij = E_i W_q' W_k E_j     a  content meets content
     + E_i W_q' W_r R_{i-j} b  content meets distance
     + u' W_k E_j           c  which contents matter in general
     + v' W_r R_{i-j}       d  which distances matter in general
     = (q_i + u)' k_j + (q_i + v)' r_{i-j}

Nothing depends on where a text begins, so that states computed for one segment serve the next as its memory. b and d
are computed for all distances once, [queries, distances], and row i is then shifted into place (appendix B).
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def sinusoids(distances: Tensor, width: int) -> Tensor:
    """R: float64 [len(distances), width], sines in the first half, cosines in the second (as in the authors' code)."""
    rates = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64, device=distances.device) / width)
    angles = distances.to(torch.float64)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)[:, :width]


def distances(queries: int, keys: int, *, causal: bool, clamp: int = 0, device: torch.device | None = None) -> Tensor:
    """The distances i - j that `relative_shift` expects, int64: keys, keys - 1, ..., 0, and on to 1 - queries unless
    `causal`. The last query stands on the last key. `clamp`: larger ones count as this, 0: none do."""
    found = torch.arange(keys, -1 if causal else -queries, -1, device=device)
    return found.clamp(-clamp, clamp) if clamp else found


def relative_shift(scores: Tensor, keys: int) -> Tensor:
    """From scores by distance to scores by key: [..., queries, distances] -> [..., queries, keys].

    Column c of `scores` belongs to distance keys - c, so that key j of query i (whose position is keys - queries + i)
    stands in column queries - i + j: each row begins one column before the row above. Read as one long row without
    its first `queries` numbers, cut into rows shorter by one, that is a plain slice. Causal distances end at 0: what
    then stands where j is after i is of other rows, and must be masked.
    """
    queries, columns = scores.shape[-2:]
    return scores.flatten(-2)[..., queries:].unflatten(-1, (queries, columns - 1))[..., :keys]


def shifted_at(scores: Tensor, positions: Tensor, queries: int, keys: int) -> Tensor:
    """As `relative_shift`, for queries anywhere: [batch, heads, n, distances] -> [batch, heads, n, keys].

    `positions`: int64 [batch, n], where in the segment of `queries` tokens each of them stands.
    """
    columns = (queries - positions)[..., None] + torch.arange(keys, device=positions.device)
    return scores.gather(-1, columns[:, None].expand(-1, scores.shape[1], -1, -1))


def attend_by_scores(
    scores: Tensor, v: Tensor, visible: Tensor | None, dropout: float = 0.0, *, blind: bool = False
) -> Tensor:
    """softmax(scores) v over what is visible.

    `scores`: [batch, heads, queries, keys]; `visible`: boolean, broadcastable to it, None for everything. `blind`:
    there may be queries that see nothing, which then get zeros (a softmax of equal scores would show everything).
    """
    if visible is not None:
        scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1)
    if blind and visible is not None:
        weights = weights.masked_fill(~visible.any(-1, keepdim=True), 0.0)
    return F.dropout(weights.to(v.dtype), dropout) @ v
