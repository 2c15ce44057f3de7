"""The table of what each kind can do: the code does what it says, and says so where it refuses."""

from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from lm.abilities import KINDS, NOT, able, cannot, cannot_write, held, table
from lm.artifact import CONFIGS
from lm.embedding import OPEN
from lm.finetune.kinds import KINDS as TUNED
from lm.models.seq2seq_config import Seq2SeqConfig
from lm.models.transformer_config import TransformerConfig
from lm.text_model import TEXTS
from lm.vectors.config import GloVeConfig, Word2VecConfig

ROOT = Path(__file__).parents[2]


def kind_of(config: type[BaseModel]) -> str:
    [kind] = get_args(config.model_fields["kind"].annotation)
    return str(kind)


def test_every_kind_has_a_row() -> None:
    others = (Seq2SeqConfig, TransformerConfig, Word2VecConfig, GloVeConfig)
    kinds = {kind_of(config) for config in (*CONFIGS.values(), *others)} | {"ngram", "finetuned"}
    assert set(KINDS) == kinds
    assert set(TUNED) <= kinds


def test_the_doors_are_as_wide_as_the_table_says() -> None:
    assert set(able("embed")) == set(OPEN)
    assert set(able("score")) == {"ngram", *TEXTS}
    assert set(able("generate")) == {"ngram", *TEXTS} - {"bert"}
    assert set(able("fill")) == {"ngram", "bert"}


def test_a_message_names_who_can_and_what_this_one_can() -> None:
    assert cannot("seq2seq", "score") == (
        "a model of kind 'seq2seq' scores no text; ngram, nnlm, rnn, elmo, gpt, bert, transformer_xl,"
        " xlnet and modern can be asked for that"
        " (this one: `textmill translate`, `textmill embed`, `textmill export --to onnx`)"
    )
    assert cannot("bert", "generate").startswith("a masked language model does not continue a text; ngram, ")
    assert "(this one: `textmill score`, `textmill fill`, `textmill embed`, " in cannot("bert", "generate")
    for kind, command in ((kind, command) for kind in KINDS for command in NOT if kind not in able(command)):
        said = cannot(kind, command)
        assert all(other in said for other in able(command))
        assert f"`textmill {command}`" not in said  # nobody is sent to what refused him
    assert cannot_write("ngram", "hf") == (
        "hf holds models of kind gpt, bert and xlnet, not 'ngram' (this one: --to arpa)"
    )
    assert cannot_write("elmo", "arpa") == "arpa holds models of kind ngram, not 'elmo'"
    assert cannot("classifier", "translate").endswith("; seq2seq and transformer can be asked for that")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_good_for_something(kind: str) -> None:
    assert KINDS[kind].asked
    assert all(kind in held(target) for target in KINDS[kind].written)


def test_the_book_has_the_table() -> None:
    assert table() in (ROOT / "docs/models/README.md").read_text(encoding="utf-8")
