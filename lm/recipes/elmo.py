"""ELMo: packed sequences of words, each read from both ends; words are read by the characters of the vocabulary."""

import torch
from torch import nn

from lm.characters import vocabulary_characters
from lm.evaluate.bilm import bilm_figures
from lm.evaluate.perplexity import unigram_bits_per_byte
from lm.generate_stepwise import ForwardStep, continue_text
from lm.models.elmo import ELMo
from lm.models.elmo_config import ELMoConfig
from lm.objectives.bilm import BiLMObjective
from lm.packing import PackedSequences
from lm.pretraining import ELMoPretraining
from lm.recipes.recipe import Given, Recipe


def recipe(given: Given) -> Recipe:
    """How `lm.pretraining.ELMoPretraining` is trained. Raises ValueError for a tokenizer of another kind than word."""
    assert isinstance(given.settings, ELMoPretraining)
    config, context = given.config, given.settings.tokens_per_example
    characters = torch.from_numpy(vocabulary_characters(given.tokenizer, given.settings.model.characters))
    watched = PackedSequences(given.valid, context)

    def made(size: ELMoConfig, seed: int) -> ELMo:
        return ELMo(size, seed, characters)

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, ELMo)
        return bilm_figures(model, watched, given.token_bytes, config.eval_sequences, given.should_stop)

    def sample(model: ELMo, prompt: str, seed: int) -> str:
        tokens, stop = config.sample_tokens, given.should_stop
        return continue_text(ForwardStep(model), given.tokenizer, prompt, tokens, seed=seed, should_stop=stop)

    def baselines() -> dict[str, dict[str, float]]:
        counts = given.train.token_counts()
        return {"unigram": unigram_bits_per_byte(counts, watched, given.token_bytes, config.eval_sequences)}

    return Recipe(
        given.first_model(made),
        lambda: given.new_model(made),
        BiLMObjective(given.token_bytes),
        PackedSequences(given.train, context),
        evaluate,
        baselines,
        sample,
    )
