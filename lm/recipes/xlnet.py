"""XLNet: sequences with another order in each epoch; with a memory, a text in lanes.

It is watched twice: by bits per byte from left to right, which compares it with others, and by the loss it is trained
on, with the same orders each time (`permutation_loss`).
"""

from dataclasses import replace

from torch import nn

from lm.evaluate.permutation import permutation_loss
from lm.generate_stepwise import LeftStep, continue_with
from lm.models.xlnet import XLNet
from lm.objectives.permutation import PermutationObjective, Permuted
from lm.order import draw_seed, in_order, numbered_by_epoch
from lm.packing import PackedSequences
from lm.pretraining import XLNetPretraining
from lm.recipes.packed import packed_recipe
from lm.recipes.recipe import Given, Recipe
from lm.streams import Lanes


def recipe(given: Given) -> Recipe:
    """How `lm.pretraining.XLNetPretraining` is trained."""
    assert isinstance(given.settings, XLNetPretraining)
    config, settings, permutation = given.config, given.settings.model, given.settings.permutation
    context, goes_on = settings.context, settings.memory > 0
    common = packed_recipe(given, XLNet, PermutationObjective(), context, continue_with(LeftStep))
    sequences, watched = PackedSequences(given.train, context), PackedSequences(given.valid, context)
    read = Lanes(sequences, config.batch) if goes_on else sequences
    fixed = Permuted(watched, context, permutation, draw_seed(config.seed, "watched"))
    limit = min(config.eval_sequences, len(watched))

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, XLNet)
        loss = permutation_loss(model, fixed, limit, should_stop=given.should_stop)
        return {**common.evaluate(model), "permutation_loss": loss}

    return replace(
        common,
        examples=Permuted(read, context, permutation, config.seed, lanes=goes_on),
        evaluate=evaluate,
        order=in_order if goes_on else numbered_by_epoch,
    )
