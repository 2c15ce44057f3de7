"""What recipes of causal models share: packed sequences in a new order each epoch, bits per byte of validation text."""

from collections.abc import Callable
from typing import Any

from torch import nn

from lm.evaluate.perplexity import bits_per_byte, unigram_bits_per_byte
from lm.packing import PackedSequences
from lm.recipes.recipe import Given, Recipe
from lm.train.objective import Objective

Continue = Callable[..., str]
"""(model, tokenizer, prompt, tokens, seed=, should_stop=) -> the model's continuation."""


def packed_recipe(
    given: Given,
    of: Callable[..., nn.Module],
    objective: Objective,
    context: int,
    continue_text: Continue,
    figures: Callable[..., dict[str, float]] = bits_per_byte,
    document_mask: bool = False,
) -> Recipe:
    """A model `of(config, seed)` on sequences of so many tokens; `figures` as `bits_per_byte` gives them.
    `document_mask`: in training and where it is watched."""
    config, stop = given.config, given.should_stop
    watched = PackedSequences(given.valid, context, document_mask)

    def evaluate(model: nn.Module) -> dict[str, float]:
        return figures(model, watched, given.token_bytes, config.eval_sequences, should_stop=stop)

    def sample(model: Any, prompt: str, seed: int) -> str:
        return continue_text(model, given.tokenizer, prompt, config.sample_tokens, seed=seed, should_stop=stop)

    def baselines() -> dict[str, dict[str, float]]:
        counts = given.train.token_counts()
        return {"unigram": unigram_bits_per_byte(counts, watched, given.token_bytes, config.eval_sequences)}

    return Recipe(
        given.first_model(of),
        lambda: given.new_model(of),
        objective,
        PackedSequences(given.train, context, document_mask),
        evaluate,
        baselines,
        sample,
    )
