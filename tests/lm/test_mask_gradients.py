"""Every mask by the gradient: through all layers a position's scores depend on the positions that it may see, on all of
them and on no others."""

import pytest
import torch
from torch import Tensor

from lm.models.bert import Bert
from lm.nn.masks import Document, Mask, Padding
from tests.lm.small_bert import KIN, random_config
from tests.lm.small_bert import jittered as jittered_bert
from tests.lm.small_decoders import DECODERS, jittered

TIME = 11
IDS = torch.tensor([[0] * 4 + [1] * 1 + [2] * 6, [5, 5, 7, 7, 5, 5, 7, 9, 9, 9, 9]])  # also what is torn apart
REAL = {
    "right": torch.arange(TIME)[None] < torch.tensor([[6], [9]]),
    "left": torch.arange(TIME)[None] >= torch.tensor([[5], [1]]),
    "holes": torch.tensor([[1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1], [0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 1]]).bool(),
}
CASES: dict[str, tuple[Mask, Tensor | None, Tensor]] = {
    "documents": (Document(IDS), IDS, torch.ones(2, TIME, dtype=torch.bool)),
    **{f"padding, {side}": (Padding(real), None, real) for side, real in REAL.items()},
    "both": (Document(IDS) & Padding(REAL["holes"]), IDS, REAL["holes"]),
}
"""A mask, the documents that it keeps apart, and what is real."""


def may_see(documents: Tensor | None, real: Tensor, causal: bool) -> Tensor:
    """Bool [batch, query, key], one entry after the other."""
    seen = torch.zeros(len(real), TIME, TIME, dtype=torch.bool)
    for b in range(len(real)):
        for q in range(TIME):
            for k in range(TIME):
                same = documents is None or documents[b, q] == documents[b, k]
                seen[b, q, k] = bool(same and real[b, k] and (k <= q or not causal))
    return seen


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["gpt1", "gpt2", "modern", *KIN])
def test_scores_depend_on_what_is_visible_and_on_all_of_it(kind: str, case: str) -> None:
    mask, documents, real = CASES[case]
    model = (
        jittered(DECODERS[kind])
        if kind in DECODERS
        else jittered_bert(random_config(kind, 3).model_copy(update={"context": TIME, "vocab": 30})).double()
    )
    vectors: list[Tensor] = []

    def keep(_module: object, _inputs: object, output: Tensor) -> None:
        output.retain_grad()
        vectors.append(output)

    model.token_embedding.register_forward_hook(keep)
    tokens = torch.randint(2, 30, (2, TIME), generator=torch.Generator().manual_seed(0))
    scores = model(tokens, mask=mask)
    expected = may_see(documents, real, causal=not isinstance(model, Bert))
    for q in range(TIME):
        (gradient,) = torch.autograd.grad(scores[:, q].square().sum(), vectors[0], retain_graph=True)
        for b in range(2):
            if real[b, q]:  # nobody asks what padding says
                assert (gradient[b] != 0).any(-1).tolist() == expected[b, q].tolist(), (b, q)
