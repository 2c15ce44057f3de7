"""Which kinds of model can be fine-tuned, and what is different about each. Importable without torch."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lm.config import StrictModel
from lm.finetune.features.settings import WordTableConfig
from lm.models.bert_config import BertConfig
from lm.models.elmo_config import ELMoConfig
from lm.models.gpt_config import GPTConfig
from lm.models.modern_config import ModernConfig
from lm.models.rnn_config import RNNConfig
from lm.models.seq2seq_config import Seq2SeqConfig
from lm.models.transformer_xl_config import TransformerXLConfig
from lm.models.xlnet_config import XLNetConfig


class Kind(NamedTuple):
    """A kind of backbone."""

    settings: type[StrictModel]
    causal: bool
    """Each state has read what stands before it, so that the model can go on predicting text while it learns a task."""
    encoder: bool
    """Its tokenizer has [CLS] and [SEP], and its pretraining knew them; the others get new tokens (GPT-1)."""
    features: bool = False
    """It stays as it is and gives vectors of words (`lm.finetune.features`); nothing is added to its texts."""


KINDS = {
    "gpt": Kind(GPTConfig, causal=True, encoder=False),
    "modern": Kind(ModernConfig, causal=True, encoder=False),
    "rnn": Kind(RNNConfig, causal=True, encoder=False),
    "transformer_xl": Kind(TransformerXLConfig, causal=True, encoder=False),
    "xlnet": Kind(XLNetConfig, causal=False, encoder=False),
    "bert": Kind(BertConfig, causal=False, encoder=True),
    "elmo": Kind(ELMoConfig, causal=False, encoder=False, features=True),
    "word2vec": Kind(WordTableConfig, causal=False, encoder=False, features=True),
    "glove": Kind(WordTableConfig, causal=False, encoder=False, features=True),
    "seq2seq": Kind(Seq2SeqConfig, causal=False, encoder=False, features=True),
}
FREE_LENGTH = 512
"""Tokens of an input at most for a kind that has no context of its own, unless something else is said."""


def settings_of(described: Mapping[str, Any]) -> StrictModel:
    """The settings that a model folder's config.json describes.

    Raises ValueError for a kind that cannot be fine-tuned, with those that can.
    """
    kind = described.get("kind")
    if kind not in KINDS:
        advice = " (it is fine-tuned already: start from its backbone)" if kind == "finetuned" else ""
        raise ValueError(f"a model of kind {kind!r} cannot be fine-tuned{advice}; {', '.join(KINDS)} can")
    settings = KINDS[kind].settings
    return WordTableConfig.of(described) if settings is WordTableConfig else settings.model_validate(described)


def kind_of(settings: StrictModel) -> Kind:
    """What is different about a model with these settings."""
    return KINDS[settings.kind]  # type: ignore[attr-defined]


def width_of(settings: StrictModel) -> int:
    """Width of its hidden states, or of the vectors that it gives."""
    if isinstance(settings, WordTableConfig):
        return settings.dimensions
    if isinstance(settings, ELMoConfig):
        return 2 * settings.width
    if isinstance(settings, Seq2SeqConfig):
        return settings.embedding + settings.memory
    return int(settings.widths[-1] if isinstance(settings, RNNConfig) else settings.width)  # type: ignore[attr-defined]


def context_of(settings: StrictModel) -> int:
    """Tokens of an input at most."""
    return int(getattr(settings, "context", FREE_LENGTH))
