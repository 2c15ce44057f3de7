"""What each layer of a model says of each word of a sentence, frozen: what probes and sense tests look at.

Layer 0 is what goes into the first layer (embeddings); layer n what the n-th one gives. A word of several tokens has
the mean of their states. What does not fit the context has none.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from lm.evaluating import evaluating
from lm.generate import Decoder
from lm.models.bert import Bert
from lm.nn.masks import Padding
from lm.special_tokens import special_tokens
from lm.stop import ShouldStop, check, never
from lm.text_model import TextModel
from lm.texts.bert import BertText
from lm.texts.decoder import DecoderText
from lm.texts.elmo import ELMoText
from lm.tokenizer import end_of_text_id

TOGETHER = 16


def layer_states(
    model: TextModel, sentences: Sequence[Sequence[str]], joined: bool = False, should_stop: ShouldStop = never
) -> tuple[np.ndarray, list[np.ndarray]]:
    """States of the words of all sentences that have some: float32 [layers + 1, words, width], and of each sentence
    which of its words these are, bool [words].

    `joined`: words stand without spaces (Chinese). Raises ValueError for a model that has no layers to look at.
    """
    if isinstance(model, ELMoText):
        return _elmo(model, sentences, should_stop)
    if not isinstance(model, BertText | DecoderText):
        raise ValueError(f"a model of kind {model.kind!r} has no layers to probe; gpt, modern, bert and elmo have")
    states: list[np.ndarray] = []
    known: list[np.ndarray] = []
    special = special_tokens(model.tokenizer) if isinstance(model, BertText) else None
    head = special.cls if special else end_of_text_id(model.tokenizer)
    room = model.model.config.context - (2 if special else 1)
    for start in range(0, len(sentences), TOGETHER):
        check(should_stop, "reading layers")
        part = sentences[start : start + TOGETHER]
        cut = [_tokens_of_words(model, words, joined, room) for words in part]
        length = 2 + max((len(ids) for ids, _ in cut), default=0)
        rows = np.full((len(part), length), head, dtype=np.int64)
        real = np.zeros((len(part), length), dtype=bool)
        for row, flags, (ids, _) in zip(rows, real, cut, strict=True):
            row[1 : 1 + len(ids)], flags[: 2 + len(ids)] = ids, True
            if special:
                row[1 + len(ids)] = special.sep
        read = slice(None) if special else slice(length - 1)
        layers = _run(model.model, rows[:, read], real[:, read] if special else None)
        for number, (_, owners) in enumerate(cut):
            here = np.zeros(len(part[number]), dtype=bool)
            here[owners] = True
            known.append(here)
            for word in np.flatnonzero(here):
                places = 1 + np.flatnonzero(owners == word)
                states.append(layers[:, number, places].mean(axis=1, dtype=np.float64).astype(np.float32))
    if not states:
        raise ValueError("there are no words in the sentences")
    return np.stack(states, axis=1), known


def _elmo(
    model: ELMoText, sentences: Sequence[Sequence[str]], should_stop: ShouldStop
) -> tuple[np.ndarray, list[np.ndarray]]:
    found = []
    for words in sentences:
        check(should_stop, "reading layers")
        if words:
            found.append(model.embed(words))
    return np.concatenate(found, axis=1), [np.ones(len(words), dtype=bool) for words in sentences]


def _tokens_of_words(
    model: BertText | DecoderText, words: Sequence[str], joined: bool, room: int
) -> tuple[np.ndarray, np.ndarray]:
    """The token ids of a sentence that fit, and the word that each belongs to."""
    between = "" if joined else " "
    ends = np.cumsum([len(word) + len(between) for word in words])
    encoding = model.tokenizer.encode(between.join(words), add_special_tokens=False)
    # A token belongs to the word of its last character: byte-level BPE puts the space before a word into it.
    last = np.array([end - 1 for _, end in encoding.offsets], dtype=np.int64)
    owners = np.searchsorted(ends, last, side="right")
    return np.array(encoding.ids, dtype=np.int64)[:room], owners[:room]


@contextmanager
def _watched(blocks: nn.ModuleList, seen: list[Tensor]) -> Iterator[None]:
    """Inside, what goes into the first block and what each gives is put into `seen`; a block that is used again and
    again (ALBERT) gives as often."""
    hooks = [blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]) if not seen else None)]
    hooks += [block.register_forward_hook(lambda _, given, made: seen.append(made)) for block in blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def _run(model: Bert | Decoder, rows: np.ndarray, real: np.ndarray | None) -> np.ndarray:
    """float32 [layers + 1, rows, time, width]."""
    device = next(model.parameters()).device
    seen: list[Tensor] = []
    with evaluating(model), _watched(model.blocks, seen):
        tokens = torch.from_numpy(rows).to(device)
        mask = None if real is None else Padding(torch.from_numpy(real).to(device))
        model.hidden_states(tokens, mask=mask)
    return np.asarray(torch.stack(seen).float().cpu().numpy())
