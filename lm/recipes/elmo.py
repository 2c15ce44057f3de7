"""ELMo: sequences of words, each read from both ends; words are read by the characters of the vocabulary."""

import torch

from lm.characters import vocabulary_characters
from lm.evaluate.bilm import bilm_figures
from lm.generate_stepwise import ForwardStep, continue_with
from lm.models.elmo import ELMo
from lm.models.elmo_config import ELMoConfig
from lm.objectives.bilm import BiLMObjective
from lm.pretraining import ELMoPretraining
from lm.recipes.packed import packed_recipe
from lm.recipes.recipe import Given, Recipe


def recipe(given: Given) -> Recipe:
    """How `lm.pretraining.ELMoPretraining` is trained. Raises ValueError for a tokenizer of another kind than word."""
    assert isinstance(given.settings, ELMoPretraining)
    characters = torch.from_numpy(vocabulary_characters(given.tokenizer, given.settings.model.characters))

    def made(size: ELMoConfig, seed: int) -> ELMo:
        return ELMo(size, seed, characters)

    objective, context = BiLMObjective(given.token_bytes), given.settings.tokens_per_example
    return packed_recipe(given, made, objective, context, continue_with(ForwardStep), bilm_figures)
