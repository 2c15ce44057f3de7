"""A recurrent language model: the text in lanes, the state carried from segment to segment.

Validation text, the first `eval_sequences` segments of `stream.bptt` tokens, is read in eight lanes with carried state.
"""

from torch import nn

from lm.config import TrainConfig
from lm.evaluate.perplexity import unigram_bits_per_byte
from lm.evaluate.recurrent import stream_bits_per_byte
from lm.generate_recurrent import generate_texts
from lm.models.rnn import RNNLM
from lm.models.rnn_config import StreamConfig
from lm.objectives.recurrent import RecurrentObjective
from lm.order import in_order
from lm.packing import PackedSequences
from lm.pretraining import RNNPretraining
from lm.recipes.recipe import Given, Recipe
from lm.streams import Lanes, RandomLanes
from lm.tokens import TokenIndex

EVALUATION_LANES = 8


def training_lanes(train: TokenIndex, stream: StreamConfig, config: TrainConfig) -> Lanes:
    """The training text in as many lanes as a batch has examples."""
    if stream.random:
        return RandomLanes(PackedSequences(train, 1), config.batch, stream.bptt, config.seed)
    return Lanes(PackedSequences(train, stream.bptt), config.batch)


def recipe(given: Given) -> Recipe:
    """How `lm.pretraining.RNNPretraining` is trained."""
    assert isinstance(given.settings, RNNPretraining)
    config, stream = given.config, given.settings.stream
    lanes = training_lanes(given.train, stream, config)
    segments = PackedSequences(given.valid, stream.bptt)
    lanes_watched = max(1, min(EVALUATION_LANES, config.eval_sequences, len(segments)))
    watched = Lanes(segments, lanes_watched, config.eval_sequences)

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, RNNLM)
        return stream_bits_per_byte(model, watched, given.token_bytes, given.should_stop)

    def sample(model: RNNLM, prompt: str, seed: int) -> str:
        tokens, stop = config.sample_tokens, given.should_stop
        return generate_texts(model, given.tokenizer, [prompt], tokens, seed=seed, should_stop=stop)[0]

    def baselines() -> dict[str, dict[str, float]]:
        counts = given.train.token_counts()
        return {"unigram": unigram_bits_per_byte(counts, segments, given.token_bytes, len(watched))}

    width = given.settings.model.widths[-1]
    return Recipe(
        given.first_model(RNNLM),
        lambda: given.new_model(RNNLM),
        RecurrentObjective(width, given.token_bytes, alpha=stream.alpha, beta=stream.beta),
        lanes,
        evaluate,
        baselines,
        sample,
        order=in_order,
        rate_scale=lanes.rate_scale,
    )
