"""The masked windows that `benchmarks.word_senses` trains a BERT on."""

import numpy as np
import torch
from scipy.stats import chisquare

from benchmarks._masked_stream import MaskedStream
from lm.masking_config import MaskingConfig
from lm.objectives.causal import IGNORE

VOCAB, CONTEXT, FIRST = 500, 64, 2


def stream(words: np.ndarray) -> MaskedStream:
    return MaskedStream(words, CONTEXT, VOCAB, FIRST, MaskingConfig(), seed=3)


def some_words(low: int = FIRST) -> np.ndarray:
    return np.random.default_rng(0).integers(low, VOCAB, 100 * CONTEXT + 1)


def test_what_was_asked_put_back_is_the_text_between_its_two_ends() -> None:
    words = some_words(low=0)
    batch = stream(words).batch(np.arange(100))
    tokens, asked = batch["tokens"].clone(), batch["targets"] != IGNORE
    row, column = torch.nonzero(asked, as_tuple=True)
    assert (batch["targets"][asked] >= FIRST).all()
    tokens[row, batch["positions"][row, column]] = batch["targets"][row, column]
    assert torch.equal(tokens[:, 1:-1], torch.from_numpy(words[:-1].reshape(100, CONTEXT)))
    assert (tokens[:, 0] == VOCAB).all()
    assert (tokens[:, -1] == VOCAB + 1).all()


def test_an_example_is_the_same_in_any_batch_and_another_in_each_epoch() -> None:
    examples = stream(some_words())
    together, alone = examples.batch(np.arange(100)), examples.batch(np.array([7]))
    assert all(torch.equal(together[name][7:8], alone[name]) for name in together)
    assert not torch.equal(examples.batch(np.array([107]))["positions"], alone["positions"])


def test_four_of_five_are_hidden_one_of_ten_replaced_and_all_places_are_alike() -> None:
    examples = stream(some_words())
    fates, places = np.zeros(3), np.zeros(CONTEXT + 2)
    for epoch in range(40):
        batch = examples.batch(np.arange(100) + 100 * epoch)
        shown, targets = batch["tokens"].gather(1, batch["positions"]), batch["targets"]
        hidden = shown == VOCAB + 2
        fates += [hidden.sum(), (~hidden & (shown != targets)).sum(), (shown == targets).sum()]
        places += np.bincount(batch["positions"].flatten().numpy(), minlength=CONTEXT + 2)
    kept = 0.1 + 0.1 / (VOCAB - FIRST)  # a word is replaced by itself as often as by any other
    assert chisquare(fates, fates.sum() * np.array([0.8, 0.2 - kept, kept])).pvalue > 0.001
    assert places[0] == places[-1] == 0
    assert chisquare(places[1:-1]).pvalue > 0.001
