"""Bengio's network: packed sequences in a new order each epoch, every window of a sequence scored in one pass."""

from dataclasses import replace

from torch import nn

from lm.evaluate.perplexity import bits_per_byte, unigram_bits_per_byte
from lm.generate_stepwise import WindowStep, continue_text
from lm.models.nnlm import NNLM
from lm.objectives.causal import CausalObjective
from lm.packing import PackedSequences
from lm.pretraining import NNLMPretraining
from lm.recipes.recipe import Given, Recipe


def recipe(given: Given) -> Recipe:
    """How `lm.pretraining.NNLMPretraining` is trained. What begins a document is the tokenizer's affair."""
    assert isinstance(given.settings, NNLMPretraining)
    size = given.settings.model.model_copy(update={"start_token": given.train.end_of_text})
    given = replace(given, settings=given.settings.model_copy(update={"model": size}))
    config, context = given.config, given.settings.tokens_per_example
    watched = PackedSequences(given.valid, context)

    def evaluate(model: nn.Module) -> dict[str, float]:
        limit = config.eval_sequences
        return bits_per_byte(model, watched, given.token_bytes, limit, should_stop=given.should_stop)

    def sample(model: NNLM, prompt: str, seed: int) -> str:
        tokens, stop = config.sample_tokens, given.should_stop
        return continue_text(WindowStep(model), given.tokenizer, prompt, tokens, seed=seed, should_stop=stop)

    def baselines() -> dict[str, dict[str, float]]:
        counts = given.train.token_counts()
        return {"unigram": unigram_bits_per_byte(counts, watched, given.token_bytes, config.eval_sequences)}

    return Recipe(
        given.first_model(NNLM),
        lambda: given.new_model(NNLM),
        CausalObjective(given.token_bytes),
        PackedSequences(given.train, context),
        evaluate,
        baselines,
        sample,
    )
