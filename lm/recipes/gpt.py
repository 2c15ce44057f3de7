"""A GPT, or the modern decoder."""

from lm.generate import generate_text
from lm.models.gpt import GPT
from lm.models.modern import Modern
from lm.objectives.causal import CausalObjective
from lm.recipes.packed import packed_recipe
from lm.recipes.recipe import Given, Recipe


def recipe(given: Given) -> Recipe:
    """How `lm.pretraining.GPTPretraining` is trained."""
    return packed_recipe(
        given, GPT, CausalObjective(given.token_bytes), given.settings.tokens_per_example, generate_text
    )


def modern_recipe(given: Given) -> Recipe:
    """How `lm.pretraining.ModernPretraining` is trained."""
    return packed_recipe(
        given, Modern, CausalObjective(given.token_bytes), given.settings.tokens_per_example, generate_text
    )
