"""Transformer-XL: the text in lanes, each layer's memory carried from segment to segment."""

from dataclasses import replace

from lm.models.transformer_xl import TransformerXL
from lm.objectives.recurrent import RecurrentObjective
from lm.packing import PackedSequences
from lm.pretraining import TransformerXLPretraining
from lm.recipes.recipe import Given, Recipe
from lm.recipes.stateful import stateful_recipe
from lm.streams import Lanes


def recipe(given: Given) -> Recipe:
    """How `lm.pretraining.TransformerXLPretraining` is trained."""
    assert isinstance(given.settings, TransformerXLPretraining)
    segment = given.settings.stream.segment
    objective = RecurrentObjective(given.settings.model.width, given.token_bytes)
    lanes = Lanes(PackedSequences(given.train, segment), given.config.batch)
    made = stateful_recipe(given, TransformerXL, objective, lanes, segment)
    return made if given.settings.model.memory else replace(made, sample=None)
