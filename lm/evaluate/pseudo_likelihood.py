"""Pseudo-log-likelihood: how likely a masked language model finds each token of a text, given all the others.

PLL(text) = sum_t ln p(x_t | text with x_t masked)                      `original`: Salazar et al. 2020, section 2.1
PLL(text) = sum_t ln p(x_t | ... and what is behind it in its word)     `within_word_l2r`: Kauf & Ivanova 2023

The first one overrates words of several tokens, which give each other away: with "souv" and "##r" in sight, "##eni"
is no riddle. The second also masks the tokens behind x_t in its own word. Neither is a probability of the text, and
there are no bits per byte in it: use it to compare texts of like meaning under one model, such as minimal pairs.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from tokenizers import Tokenizer

from lm.evaluating import evaluating
from lm.models.bert import Bert
from lm.special_tokens import special_tokens
from lm.stop import ShouldStop, check, never
from lm.tokenizer import encode_documents
from lm.words_in_tokens import Segment, WordStarts

Variant = Literal["original", "within_word_l2r"]


def pseudo_log_likelihood(
    model: Bert,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    variant: Variant = "within_word_l2r",
    segment: Segment | None = None,
    batch: int = 64,
    should_stop: ShouldStop = never,
) -> list[np.ndarray]:
    """ln p of each token of each text, float64 [tokens]; their sum is the text's pseudo-log-likelihood.

    A text longer than the context is cut into pieces, each scored by itself. `segment` cuts Chinese into words for
    `within_word_l2r`; without it each character is one. The model is left in the mode it was in. Raises Interrupted
    between batches if asked to stop.
    """
    special, words = special_tokens(tokenizer), WordStarts(tokenizer, segment)
    room, scores = model.config.context - 2, []
    with evaluating(model):
        for ids in encode_documents(tokenizer, list(texts)):
            parts = [np.empty(0)]
            for start in range(0, len(ids), room):
                piece = ids[start : start + room]
                hidden = _hidden(words(piece), variant)
                framed = np.concatenate([[special.cls], piece, [special.sep]])
                for first in range(0, len(piece), batch):
                    check(should_stop, "scoring")
                    rows = np.where(np.pad(hidden[first : first + batch], ((0, 0), (1, 1))), special.mask, framed)
                    parts.append(_scores(model, rows, piece[first : first + batch], first))
            scores.append(np.concatenate(parts))
    return scores


def _hidden(starts: np.ndarray, variant: Variant) -> np.ndarray:
    """Which tokens are masked when token t is scored, bool [t, tokens]."""
    itself = np.eye(len(starts), dtype=bool)
    if variant == "original":
        return itself
    word = np.cumsum(starts)
    return itself | np.triu(word[:, None] == word[None])


@torch.no_grad()
def _scores(model: Bert, rows: np.ndarray, targets: np.ndarray, first: int) -> np.ndarray:
    """ln p of the targets that stand at places first, first + 1, ... of rows 0, 1, ... (behind [CLS])."""
    device = model.bias.device
    row = torch.arange(len(rows), device=device)
    hidden = model.hidden_states(torch.from_numpy(rows).to(device))[row, row + 1 + first]
    chances = model.masked_logits(hidden).float().log_softmax(-1)
    found: np.ndarray = chances[row, torch.from_numpy(targets).to(device)].double().cpu().numpy()
    return found
