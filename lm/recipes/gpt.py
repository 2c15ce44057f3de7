"""A GPT, or the modern decoder: packed sequences in a new order each epoch, bits per byte on validation sequences."""

from torch import nn

from lm.evaluate.perplexity import bits_per_byte, unigram_bits_per_byte
from lm.generate import Decoder, generate_text
from lm.models.gpt import GPT
from lm.models.modern import Modern
from lm.objectives.causal import CausalObjective
from lm.packing import PackedSequences
from lm.recipes.recipe import Given, Recipe


def recipe(given: Given) -> Recipe:
    """How `lm.pretraining.GPTPretraining` is trained."""
    return decoder_recipe(given, GPT)


def modern_recipe(given: Given) -> Recipe:
    """How `lm.pretraining.ModernPretraining` is trained."""
    return decoder_recipe(given, Modern)


def decoder_recipe(given: Given, of: type[Decoder]) -> Recipe:
    """How any model that sees the tokens before and predicts the next is trained."""
    config, context = given.config, given.settings.model.context
    watched = PackedSequences(given.valid, context)

    def evaluate(model: nn.Module) -> dict[str, float]:
        limit = config.eval_sequences
        return bits_per_byte(model, watched, given.token_bytes, limit, should_stop=given.should_stop)

    def sample(model: Decoder, prompt: str, seed: int) -> str:
        tokens, stop = config.sample_tokens, given.should_stop
        return generate_text(model, given.tokenizer, prompt, tokens, seed=seed, should_stop=stop)

    def baselines() -> dict[str, dict[str, float]]:
        counts = given.train.token_counts()
        return {"unigram": unigram_bits_per_byte(counts, watched, given.token_bytes, config.eval_sequences)}

    return Recipe(
        given.first_model(of),
        lambda: given.new_model(of),
        CausalObjective(given.token_bytes),
        PackedSequences(given.train, context),
        evaluate,
        baselines,
        sample,
    )
