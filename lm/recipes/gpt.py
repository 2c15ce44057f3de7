"""A GPT, or the modern decoder."""

from collections.abc import Callable

from torch import nn

from lm.generate import generate_text
from lm.models.gpt import GPT
from lm.models.modern import Modern
from lm.objectives.causal import CausalObjective
from lm.pretraining import PackedDecoder
from lm.recipes.packed import packed_recipe
from lm.recipes.recipe import Given, Recipe


def recipe(given: Given) -> Recipe:
    """How `lm.pretraining.GPTPretraining` is trained."""
    return _decoder(given, GPT)


def modern_recipe(given: Given) -> Recipe:
    """How `lm.pretraining.ModernPretraining` is trained."""
    return _decoder(given, Modern)


def _decoder(given: Given, of: Callable[..., nn.Module]) -> Recipe:
    settings = given.settings
    assert isinstance(settings, PackedDecoder)
    objective, context = CausalObjective(given.token_bytes), settings.tokens_per_example
    return packed_recipe(given, of, objective, context, generate_text, document_mask=settings.document_mask)
