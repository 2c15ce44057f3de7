"""A model of any kind as its users see it: it scores texts and continues them. One door for all commands.

model = open_model(folder)
model.score(["A text."])          # tokens, nats and bytes of each text
model.generate("A text", 20)
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from lm.abilities import cannot
from lm.artifact import described, load_model, load_torch
from lm.models.bert import Bert
from lm.models.elmo import ELMo
from lm.models.gpt import GPT
from lm.models.modern import Modern
from lm.models.nnlm import NNLM
from lm.models.rnn import RNNLM
from lm.models.transformer_xl import TransformerXL
from lm.models.xlnet import XLNet
from lm.ngram.model import load_ngram
from lm.sampling import Sampling
from lm.texts.base import Score, TextModel
from lm.texts.bert import BertText
from lm.texts.decoder import DecoderText
from lm.texts.elmo import ELMoText
from lm.texts.ngram import NgramText
from lm.texts.nnlm import NNLMText
from lm.texts.stateful import StatefulText
from lm.texts.xlnet import XLNetText
from lm.tokenizers.spelling import Spelling

__all__ = ["Sampling", "Score", "TextModel", "open_model"]

NGRAM = "ngram"  # has no tensors
TEXTS: dict[str, tuple[type[nn.Module], Callable[[Any, Any, Spelling], TextModel]]] = {
    "gpt": (GPT, DecoderText),
    "modern": (Modern, DecoderText),
    "rnn": (RNNLM, StatefulText),
    "nnlm": (NNLM, NNLMText),
    "elmo": (ELMo, ELMoText),
    "transformer_xl": (TransformerXL, StatefulText),
    "xlnet": (XLNet, XLNetText),
    "bert": (Bert, BertText),
}
"""By kind: the module, and what users see of it."""
HUGGING_FACE_ELSE = ("bert", "roberta", "albert", "xlnet")
"""Types of Hugging Face folders that are read by `textmill import` alone."""


def open_model(folder: Path, device: str = "cpu") -> TextModel:
    """The model of a folder of ours, or of a Hugging Face GPT folder; what has no tensors stays on the CPU.

    A masked language model opens too: it fills gaps and has a `pseudo_log_likelihood`, which `textmill score` asks; its
    `score` and `generate` say that it cannot.
    Raises FileNotFoundError or ValueError saying what is missing or does not fit.
    """
    config = described(folder)
    kind, theirs = config.get("kind", "gpt"), config.get("model_type")
    if kind == NGRAM:
        return NgramText(load_ngram(folder), Spelling.load(folder))
    if kind not in TEXTS:
        raise ValueError(f"{folder}: {cannot(kind, 'score')}")
    if theirs in HUGGING_FACE_ELSE:
        raise ValueError(f"{folder}: a Hugging Face folder of type {theirs!r}: `textmill import` it first")
    module, seen = TEXTS[kind]
    model, tokenizer = load_model(folder) if module is GPT else load_torch(folder, module)
    return seen(model.to(device), tokenizer, Spelling.load(folder))
