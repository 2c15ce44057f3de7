"""A preset of BERT's kin says what is asked as well: masks, pairs and heads, but for what a file says itself."""

from typing import Any

import pytest
from pydantic import ValidationError

from flows.config.ladder import load_model_config
from flows.config.loading import CONFIGS
from flows.config.rungs import BertRung
from lm.masking_config import MASKING_PRESETS, SPANBERT_SPANS
from lm.models.bert_config import BERT_PRESETS
from lm.pretraining import BertPretraining

# Of each paper: pairs, unit and lengths of what is masked, other masks in every epoch, what hides, span boundaries.
PAPERS = {
    "bert": ("nsp", "token", (1.0,), False, "mask", False),
    "roberta": ("none", "token", (1.0,), True, "mask", False),
    "albert": ("sop", "word", (1.0, 1 / 2, 1 / 3), False, "mask", False),
    "spanbert": ("none", "word", SPANBERT_SPANS, True, "mask", True),
    "macbert": ("sop", "word", (0.4, 0.3, 0.2, 0.1), False, "similar", False),
}


def made(**given: Any) -> BertPretraining:
    settings = BertRung.model_validate({"kind": "bert", **given}).pretraining(300)
    assert isinstance(settings, BertPretraining)
    return settings


@pytest.mark.parametrize("name", BERT_PRESETS)
def test_a_preset_alone_is_the_whole_kin(name: str) -> None:
    pairs, unit, spans, dynamic, hidden_by, boundary = PAPERS[name.partition("-")[0]]
    settings = made(preset=name)
    assert settings.segments.pairs == pairs
    masking = settings.masking
    assert (masking.unit, masking.spans, masking.dynamic) == (unit, spans, dynamic)
    assert (masking.hidden_by, masking.boundary) == (hidden_by, boundary)
    assert (settings.model.pair_head, settings.model.boundary_head) == (pairs != "none", boundary)
    expected = BERT_PRESETS[name].model_dump(exclude={"vocab", "pair_head", "boundary_head"})
    assert settings.model.model_dump(exclude={"vocab", "pair_head", "boundary_head"}) == expected


def test_what_a_file_says_wins_and_the_rest_is_the_papers() -> None:
    settings = made(preset="spanbert-base", masking={"rate": 0.2}, segments={"length": 64})
    assert settings.masking == MASKING_PRESETS["spanbert"].model_copy(update={"rate": 0.2})
    assert (settings.segments.length, settings.segments.pairs) == (64, "none")
    settings = made(preset="spanbert-base", masking={"boundary": False}, segments={"pairs": "nsp"})
    assert (settings.model.boundary_head, settings.model.pair_head) == (False, True)


def test_what_does_not_go_with_the_paper_is_refused() -> None:
    with pytest.raises(ValidationError, match="chinese_words is for unit: word"):
        made(preset="macbert-base", masking={"unit": "token"})
    with pytest.raises(ValidationError, match="did you mean 'macbert-base'"):
        made(preset="macbert-bas")
    with pytest.raises(ValidationError, match="preset"):
        made(preset=["macbert-base"])


@pytest.mark.parametrize("name", ["bert", "roberta", "albert", "spanbert", "macbert"])
def test_the_shipped_file_asks_what_its_preset_asks(name: str) -> None:
    model: Any = load_model_config(CONFIGS / "models" / f"{name}.yaml").model
    alone = made(preset=model.preset)
    assert model.segments.pairs == alone.segments.pairs
    ours, papers = (of.masking.model_dump(exclude={"max_predictions", "spans"}) for of in (model, alone))
    assert ours == papers
    assert model.masking.spans == pytest.approx(alone.masking.spans, abs=1e-3)
