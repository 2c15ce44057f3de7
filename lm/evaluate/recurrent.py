"""What a model with carried state makes of a text of any length, the state carried through it.

For bits per byte of a token index give `lm.evaluate.perplexity.bits_per_byte` the model as `lm.nn.stateful.Carried` and
`lm.streams.Lanes`, with as many rows a batch as there are lanes; `stream_bits_per_byte` does that.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lm.evaluate.perplexity import bits_per_byte
from lm.evaluating import evaluating
from lm.nn.stateful import Carried, Stateful
from lm.objectives.causal import token_nats
from lm.stop import ShouldStop, check, never
from lm.streams import Lanes


def stream_bits_per_byte(
    model: Stateful, lanes: Lanes, token_bytes: np.ndarray, should_stop: ShouldStop = never
) -> dict[str, float]:
    """`bits_per_byte` with carried state. Each lane begins with zeros: with one, all tokens before a token count."""
    with evaluating(model):
        return bits_per_byte(Carried(model), lanes, token_bytes, None, lanes.lanes, should_stop)


def score_tokens(
    model: Stateful, tokens: Sequence[int] | np.ndarray, segment: int = 1024, should_stop: ShouldStop = never
) -> np.ndarray:
    """-ln p of each token but the first given all before it, float64 [len(tokens) - 1], `segment` tokens at a time.

    The model is left in the mode it was in. Raises ValueError for fewer than two tokens.
    """
    ids = torch.as_tensor(np.asarray(tokens, dtype=np.int64))[None]
    if ids.shape[1] < 2:
        raise ValueError("there is nothing to score: give at least two tokens, the first of them <|endoftext|>")
    device = model.token_embedding.weight.device
    carried, scores = Carried(model), []
    with evaluating(model):
        for start in range(0, ids.shape[1] - 1, segment):
            check(should_stop, "scoring")
            part: Tensor = ids[:, start : start + segment + 1].to(device)
            scores.append(token_nats(carried(part[:, :-1]), part[:, 1:])[0].double().cpu().numpy())
    return np.concatenate(scores)
