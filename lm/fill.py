"""Fill the gaps: what a masked language model puts where a text says [MASK]."""

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer

from lm.evaluating import evaluating
from lm.models.bert import Bert
from lm.special_tokens import special_tokens
from lm.tokenizer import encode_documents

GAP = "[MASK]"
"""How a gap is written, whatever the mask token of the tokenizer is called."""


def framed(tokenizer: Tokenizer, text: str) -> tuple[list[int], list[int]]:
    """[CLS] text [SEP] in tokens, with the mask token for each gap; and where the gaps are.

    A space before a gap is the mask token's, as in RoBERTa; WordPiece drops it anyhow.
    """
    special = special_tokens(tokenizer)
    ids: list[int] = []
    gaps: list[int] = []
    parts = text.split(GAP)
    encoded = encode_documents(tokenizer, [part.rstrip(" ") for part in parts[:-1]] + parts[-1:])
    for number, part in enumerate(encoded):
        if number:
            gaps.append(len(ids) + 1)
            ids.append(special.mask)
        ids += part.tolist()
    return [special.cls, *ids, special.sep], gaps


def fill_gaps(model: Bert, tokenizer: Tokenizer, text: str, count: int = 5) -> list[list[tuple[str, float]]]:
    """For each gap the `count` likeliest tokens and their probabilities, all gaps open at once.

    The model is left in the mode it was in. Raises ValueError if the text has no gap, or is longer than the context.
    """
    ids, gaps = framed(tokenizer, text)
    if not gaps:
        raise ValueError(f"the text has no gap: write {GAP} where one shall be filled")
    with evaluating(model):
        hidden = model.hidden_states(torch.tensor([ids], device=model.bias.device))[0, gaps]
        found = model.masked_logits(hidden).float().softmax(-1)
        chances, tokens = found.topk(min(count, found.shape[-1]))
    return [
        [(tokenizer.decode([token]).strip().removeprefix("##"), chance) for token, chance in zip(*row, strict=True)]
        for row in zip(tokens.tolist(), chances.tolist(), strict=True)
    ]


def filled_text(text: str, choices: Sequence[Sequence[tuple[str, float]]]) -> str:
    """The text with the choices for each gap in its place: `the [sky 61 %, sea 12 %]`."""
    for row in choices:
        text = text.replace(GAP, "[" + ", ".join(f"{token} {chance:.0%}" for token, chance in row) + "]", 1)
    return text
