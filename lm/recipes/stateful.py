"""What recipes of models with carried state share: the text in lanes, the state carried from segment to segment.

Validation text, the first `eval_sequences` segments, is read in eight lanes with carried state.
"""

from collections.abc import Callable

from torch import nn

from lm.evaluate.perplexity import unigram_bits_per_byte
from lm.evaluate.recurrent import stream_bits_per_byte
from lm.generate_recurrent import generate_texts
from lm.nn.stateful import Stateful
from lm.order import in_order
from lm.packing import PackedSequences
from lm.recipes.recipe import Given, Recipe
from lm.streams import Lanes
from lm.train.objective import Objective

EVALUATION_LANES = 8


def stateful_recipe(
    given: Given, of: Callable[..., nn.Module], objective: Objective, lanes: Lanes, segment: int
) -> Recipe:
    """A model `of(config, seed)` that reads `lanes`, and validation text in segments of so many tokens."""
    config = given.config
    segments = PackedSequences(given.valid, segment)
    lanes_watched = max(1, min(EVALUATION_LANES, config.eval_sequences, len(segments)))
    watched = Lanes(segments, lanes_watched, config.eval_sequences)

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, Stateful)
        return stream_bits_per_byte(model, watched, given.token_bytes, given.should_stop)

    def sample(model: Stateful, prompt: str, seed: int) -> str:
        tokens, stop = config.sample_tokens, given.should_stop
        return generate_texts(model, given.tokenizer, [prompt], tokens, seed=seed, should_stop=stop)[0]

    def baselines() -> dict[str, dict[str, float]]:
        counts = given.train.token_counts()
        return {"unigram": unigram_bits_per_byte(counts, segments, given.token_bytes, len(watched))}

    return Recipe(
        given.first_model(of),
        lambda: given.new_model(of),
        objective,
        lanes,
        evaluate,
        baselines,
        sample,
        order=in_order,
        rate_scale=lanes.rate_scale,
    )
