"""XLNet: sequences with another order in each epoch; with a memory, a text in lanes.

It is watched twice: by bits per byte from left to right, which compares it with others, and by the loss it is trained
on, with the same orders each time (`permutation_loss`).
"""

from torch import nn

from lm.evaluate.permutation import permutation_loss
from lm.evaluate.perplexity import bits_per_byte, unigram_bits_per_byte
from lm.generate_stepwise import LeftStep, continue_text
from lm.models.xlnet import XLNet
from lm.objectives.permutation import PermutationObjective, Permuted
from lm.order import draw_seed, in_order, numbered_by_epoch
from lm.packing import PackedSequences
from lm.pretraining import XLNetPretraining
from lm.recipes.recipe import Given, Recipe
from lm.streams import Lanes


def recipe(given: Given) -> Recipe:
    """How `lm.pretraining.XLNetPretraining` is trained."""
    assert isinstance(given.settings, XLNetPretraining)
    config, settings, permutation = given.config, given.settings.model, given.settings.permutation
    context, stop = settings.context, given.should_stop
    sequences, watched = PackedSequences(given.train, context), PackedSequences(given.valid, context)
    goes_on = settings.memory > 0
    read = Lanes(sequences, config.batch) if goes_on else sequences
    fixed = Permuted(watched, context, permutation, draw_seed(config.seed, "watched"))
    limit = min(config.eval_sequences, len(watched))

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, XLNet)
        figures = bits_per_byte(model, watched, given.token_bytes, limit, should_stop=stop)
        return {**figures, "permutation_loss": permutation_loss(model, fixed, limit, should_stop=stop)}

    def sample(model: XLNet, prompt: str, seed: int) -> str:
        tokens = config.sample_tokens
        return continue_text(LeftStep(model), given.tokenizer, prompt, tokens, seed=seed, should_stop=stop)

    def baselines() -> dict[str, dict[str, float]]:
        counts = given.train.token_counts()
        return {"unigram": unigram_bits_per_byte(counts, watched, given.token_bytes, limit)}

    return Recipe(
        given.first_model(XLNet),
        lambda: given.new_model(XLNet),
        PermutationObjective(),
        Permuted(read, context, permutation, config.seed, lanes=goes_on),
        evaluate,
        baselines,
        sample,
        order=in_order if goes_on else numbered_by_epoch,
    )
