"""BERT and its kin: masked examples, other masks each epoch; accuracy on masked tokens and pairs of validation text."""

import numpy as np
from torch import nn

from lm.evaluate.masked import masked_figures
from lm.fill import GAP, fill_gaps, filled_text
from lm.masked_examples import MaskedExamples
from lm.models.bert import Bert
from lm.objectives.masked import MaskedObjective
from lm.order import numbered_by_epoch
from lm.pretraining import BertPretraining
from lm.recipes.recipe import Given, Recipe
from lm.similar_words import SimilarWords
from lm.tokens import TokenIndex
from lm.words_in_tokens import chinese_words

SAMPLE_CHOICES = 3


def recipe(given: Given) -> Recipe:
    """How `lm.pretraining.BertPretraining` is trained."""
    assert isinstance(given.settings, BertPretraining)
    settings, config = given.settings, given.config

    similar = None if given.similar_words is None else SimilarWords.load(given.similar_words)

    def examples(index: TokenIndex) -> MaskedExamples:
        segment = chinese_words if settings.masking.chinese_words else None
        return MaskedExamples(
            index, given.tokenizer, settings.masking, settings.segments, config.seed, segment, similar
        )

    read = examples(given.train)
    watched = examples(given.valid)

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, Bert)
        return masked_figures(model, watched, config.eval_sequences, should_stop=given.should_stop)

    def sample(model: Bert, prompt: str, seed: int) -> str:
        text = prompt if GAP in prompt else f"{prompt} {GAP}".lstrip()
        return filled_text(text, fill_gaps(model, given.tokenizer, text, SAMPLE_CHOICES))

    def baselines() -> dict[str, dict[str, float]]:
        return {"commonest": commonest(given.train.token_counts(), watched, config.eval_sequences)}

    return Recipe(
        given.first_model(Bert),
        lambda: given.new_model(Bert),
        MaskedObjective(settings.model.pair_head, settings.model.boundary_head),
        read,
        evaluate,
        baselines,
        sample,
        best_metric="masked_loss",
        order=numbered_by_epoch,
    )


def commonest(counts: np.ndarray, examples: MaskedExamples, limit: int) -> dict[str, float]:
    """The figures of always naming tokens by how frequent they are (add-one): what a model that is stuck says."""
    log_p = np.log((counts + 1) / (counts.sum() + len(counts)))
    chosen = [examples.example(number)[0].targets for number in range(min(limit, len(examples)))]
    targets = np.concatenate(chosen)
    right = float((targets == examples.ordinary[counts[examples.ordinary].argmax()]).mean())
    return {"masked_loss": -float(log_p[targets].mean()), "masked_accuracy": right, "predictions": float(len(targets))}
