"""Bengio's network: every window of a sequence is scored in one pass."""

from dataclasses import replace

from lm.generate_stepwise import WindowStep, continue_with
from lm.models.nnlm import NNLM
from lm.objectives.causal import CausalObjective
from lm.pretraining import NNLMPretraining
from lm.recipes.packed import packed_recipe
from lm.recipes.recipe import Given, Recipe


def recipe(given: Given) -> Recipe:
    """How `lm.pretraining.NNLMPretraining` is trained. What begins a document is the tokenizer's affair."""
    assert isinstance(given.settings, NNLMPretraining)
    size = given.settings.model.model_copy(update={"start_token": given.train.end_of_text})
    given = replace(given, settings=given.settings.model_copy(update={"model": size}))
    objective = CausalObjective(given.token_bytes)
    return packed_recipe(given, NNLM, objective, given.settings.tokens_per_example, continue_with(WindowStep))
