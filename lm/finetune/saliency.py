"""What a prediction hangs on: gradient times input, a number for each token (Shrikumar et al. 2017; Li et al. 2016).

With e_i the embedding of token i as the model reads it and s the score of what was predicted (a logit), a token's
number is e_i . ds/de_i: how much s would fall, to first order, if the embedding went to zero. A positive one speaks for
the prediction. It says what this model uses, not what is true, and of tokens that act together it sees each alone.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lm.finetune.artifact import device_of
from lm.finetune.forms.base import Example
from lm.finetune.predictor import Predictor
from lm.labelled.forms import Classification, MultipleChoice, QuestionAnswering, Regression, Tagging


class Saliency(NamedTuple):
    """The tokens that the model read, and the number of each."""

    tokens: list[str]
    scores: list[float]
    target: str
    """Whose score it is."""


def saliency(predictor: Predictor, example: Example, word: int = 0) -> Saliency | None:
    """Of one example, without its label; None for a model whose embeddings are not looked up as such (recurrent ones).

    The score is that of the predicted class; of the number, for a regression; of the chosen answer; of the tag that is
    predicted for `word`; of the best start and the best end, for a question. Where a text is read in windows it is the
    window that decides, and where both orders are read the first one.
    """
    model, form = predictor.model, predictor.form
    table = getattr(model.backbone.model, "token_embedding", None)
    if not isinstance(table, torch.nn.Module):
        return None
    read: list[Tensor] = []
    hook = table.register_forward_hook(lambda module, inputs, output: read.append(output))
    items = form.items([example])
    batch = {name: tensor.to(device_of(model)) for name, tensor in items.batch(np.arange(len(items))).items()}
    try:
        with torch.enable_grad():
            outputs, _ = model(batch)
    finally:
        hook.remove()
    if len(read) != 1 or not read[0].requires_grad:
        return None
    score, row, target = _score(predictor, items, outputs, batch, word)
    (gradient,) = torch.autograd.grad(score, read[0])
    numbers = (gradient.detach() * read[0].detach()).double().sum(-1)[row]
    length = int(batch["lengths"][row])
    return Saliency(_written(predictor, batch["tokens"][row, :length].tolist()), numbers[:length].tolist(), target)


def _score(
    predictor: Predictor, items: object, outputs: Tensor, batch: dict[str, Tensor], word: int
) -> tuple[Tensor, int, str]:
    """What is differentiated, the row of the batch that it is read from, and its name."""
    ask = predictor.task.ask
    if isinstance(ask, Classification):
        chosen = int(outputs[0].argmax())
        return outputs[0, chosen], 0, ask.classes[chosen]
    if isinstance(ask, Regression):
        return outputs[0, 0], 0, "the number"
    if isinstance(ask, MultipleChoice):
        chosen = int(outputs[:, 0].argmax())
        return outputs[chosen, 0], chosen, f"choice {chosen + 1}"
    if isinstance(ask, Tagging):
        places = [(row, place) for row, of in enumerate(items.words) for w, place in of if w == word]  # type: ignore[attr-defined]
        row, place = places[0]
        chosen = int(outputs[row, place].argmax())
        return outputs[row, place, chosen], row, ask.tags[chosen]
    assert isinstance(ask, QuestionAnswering)
    real = torch.arange(outputs.shape[1], device=outputs.device) < batch["lengths"][:, None]
    best = outputs.masked_fill(~real[..., None], float("-inf")).amax(1).sum(-1)
    row = int(best.argmax())
    return best[row], row, "start and end of the answer"


def _written(predictor: Predictor, tokens: list[int]) -> list[str]:
    """Each token by itself as text; a decoder's new tokens by what they are for."""
    reader = predictor.form.reader  # type: ignore[attr-defined]
    framing, tokenizer = reader.framing, reader.tokenizer
    names: dict[int, str] = {}
    if not framing.at_first:
        names = {framing.begin: "⟨start⟩", framing.between[0]: "⟨delimiter⟩", framing.end: "⟨extract⟩"}
    return [names.get(token) or tokenizer.decode([token], skip_special_tokens=False) for token in tokens]
