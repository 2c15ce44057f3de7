"""A recurrent language model: the text in lanes, the state carried from segment to segment."""

from dataclasses import replace

from lm.config import TrainConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import StreamConfig
from lm.objectives.recurrent import RecurrentObjective
from lm.packing import PackedSequences
from lm.pretraining import RNNPretraining
from lm.recipes.recipe import Given, Recipe
from lm.recipes.stateful import stateful_recipe
from lm.streams import Lanes, RandomLanes
from lm.tokens import TokenIndex


def training_lanes(train: TokenIndex, stream: StreamConfig, config: TrainConfig) -> Lanes:
    """The training text in as many lanes as a batch has examples."""
    if stream.random:
        return RandomLanes(PackedSequences(train, 1), config.batch, stream.bptt, config.seed)
    return Lanes(PackedSequences(train, stream.bptt), config.batch)


def recipe(given: Given) -> Recipe:
    """How `lm.pretraining.RNNPretraining` is trained. What begins a document is the tokenizer's affair."""
    settings = given.settings
    assert isinstance(settings, RNNPretraining)
    stream, width = settings.stream, settings.model.widths[-1]
    if stream.reset:
        model = settings.model.model_copy(update={"reset_token": given.train.end_of_text})
        given = replace(given, settings=settings.model_copy(update={"model": model}))
    objective = RecurrentObjective(width, given.token_bytes, alpha=stream.alpha, beta=stream.beta)
    return stateful_recipe(given, RNNLM, objective, training_lanes(given.train, stream, given.config), stream.bptt)
