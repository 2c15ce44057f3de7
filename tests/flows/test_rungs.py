"""What a configuration can say of a model: all that shapes it."""

import pytest
from pydantic import ValidationError

from flows.config.rungs import ELMoRung, NNLMRung, PresetRung, RNNRung, TransformerXLRung, XLNetRung
from lm.config import StrictModel
from lm.models.elmo_config import ELMoConfig
from lm.models.nnlm_config import NNLMConfig
from lm.models.rnn_config import RNNConfig
from lm.models.transformer_xl_config import TransformerXLConfig
from lm.models.xlnet_config import XLNetConfig

OF_TOKENIZER = {"kind", "vocab", "start_token", "reset_token"}
ALWAYS = {"norm_epsilon"}


@pytest.mark.parametrize(
    ("rung", "model"),
    [
        (RNNRung, RNNConfig),
        (NNLMRung, NNLMConfig),
        (ELMoRung, ELMoConfig),
        (TransformerXLRung, TransformerXLConfig),
        (XLNetRung, XLNetConfig),
    ],
)
def test_every_field_of_a_model_can_be_said(rung: type[PresetRung], model: type[StrictModel]) -> None:
    assert model.model_fields.keys() - OF_TOKENIZER - ALWAYS <= rung.model_fields.keys()


def test_what_is_said_reaches_the_model() -> None:
    rung = RNNRung.model_validate(
        {"kind": "rnn", "preset": "awd-lstm", "weight_dropout": 0.2, "locked": False, "stream": {"reset": True}}
    )
    made = rung.resolved(vocab=300)
    assert (made.weight_dropout, made.locked, made.input_dropout) == (0.2, False, 0.4)
    same = TransformerXLRung.model_validate({"kind": "transformer_xl", "same_length": True, "clamp": 40})
    assert (same.resolved(vocab=300).same_length, same.resolved(vocab=300).clamp) == (True, 40)
    words = ELMoRung.model_validate({"kind": "elmo", "filters": [[1, 8], [2, 8]], "highways": 0})
    assert words.resolved(vocab=300).filter_count == 16


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "elmo", "preset": "original", "clip": 5.0, "cell_width": 4096, "filters": [[1, 64], [7, 1024]]},
        {"kind": "elmo", "characters": 20, "character_width": 8, "highways": 0},
    ],
)
def test_whatever_is_said_can_be_cut_down(given: dict[str, object]) -> None:
    smaller = ELMoRung.model_validate(given).smaller()
    assert ELMoRung.model_validate(smaller.model_dump()).resolved(vocab=300).parameter_count() < 100_000


def test_what_cannot_be_together_is_refused() -> None:
    with pytest.raises(ValidationError, match="torch cannot reset the state inside a sequence"):
        RNNRung.model_validate({"kind": "rnn", "path": "torch", "stream": {"reset": True}})
    with pytest.raises(ValidationError, match="memory is 0"):
        TransformerXLRung.model_validate({"kind": "transformer_xl", "memory": 0, "same_length": True})
