"""A decoder with a larger vocabulary: what it knew is kept, the rows of new tokens are new."""

from typing import Any

import torch

from lm.generate import Decoder


@torch.no_grad()
def with_vocabulary(model: Decoder, known: int, vocab: int, seed: int, dropout: float) -> Decoder:
    """A copy of `model` for a tokenizer of `vocab` tokens, of which it knows the first `known`.

    The rows of the others, in the embedding and in a head of its own, are those of a new model of this seed, also where
    the model had spare rows. `dropout` replaces that of a model that has any.
    """
    update: dict[str, Any] = {"vocab": max(vocab, model.config.vocab)}
    if "dropout" in type(model.config).model_fields:
        update |= {"dropout": dropout}
    larger = type(model)(model.config.model_copy(update=update), seed=seed)  # type: ignore[arg-type]
    old, new = model.state_dict(), larger.state_dict()
    by_token = {name for name, tensor in new.items() if name in ("token_embedding.weight", "head.weight")}
    for name, tensor in new.items():
        if name in by_token:
            tensor[:known] = old[name][:known]
        else:
            tensor.copy_(old[name])
    return larger.eval()
