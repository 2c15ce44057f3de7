"""Tiny models that give features, as folders, for the tests of fine-tuning on them."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from lm.artifact import save_model
from lm.characters import vocabulary_characters
from lm.models.elmo import ELMo
from lm.models.elmo_config import ELMoConfig
from lm.models.seq2seq import Seq2Seq
from lm.models.seq2seq_config import Seq2SeqConfig
from lm.tokenizer import load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig, WordConfig
from lm.translator import save_translator
from lm.vectors.artifact import save_vectors
from lm.vectors.vocabulary import Vocabulary
from tests.lm.finetune_cases import EVERY

KINDS = ("elmo", "word2vec", "glove", "cove")
LEFT_OUT = "keel"
"""A word of the examples that no vocabulary has."""


def feature_folder(folder: Path, kind: str) -> Path:
    """An untrained model of a kind in `folder`/model. word2vec's words are a tokenizer's, GloVe's between blanks."""
    known = [word for word in EVERY if word != LEFT_OUT]
    tokenizer = folder / "tokenizer"
    if kind == "cove":
        train_tokenizer([" ".join(EVERY)] * 20, ByteBPEConfig(vocab_size=300), tokenizer)
    else:
        train_tokenizer([" ".join(known)] * 20, WordConfig(kind="word", vocab_size=200, min_frequency=1), tokenizer)
    vocab = load_tokenizer(tokenizer).get_vocab_size()
    if kind == "elmo":
        config = ELMoConfig(
            characters=12, character_width=4, filters=((1, 8), (2, 8)), highways=1, width=12, cell_width=None,
            clip=None, vocab=vocab,
        )  # fmt: skip
        table = torch.from_numpy(vocabulary_characters(load_tokenizer(tokenizer), 12))
        save_model(louder(ELMo(config, seed=3, characters=table)), tokenizer, folder / "model")
    elif kind == "cove":
        sizes = {"source_vocab": vocab, "target_vocab": vocab, "embedding": 12, "width": 8}
        sizes |= {"bidirectional": True, "attention": "general"}
        save_translator(
            louder(Seq2Seq(Seq2SeqConfig.model_validate(sizes), seed=3)), tokenizer, tokenizer, folder / "model"
        )  # type: ignore[arg-type]
    else:
        words = tuple(sorted(set(known)))
        vectors = np.random.default_rng(0).normal(size=(len(words), 16)).astype(np.float32)
        unit = "token" if kind == "word2vec" else "word"
        said = {"kind": kind, "dimensions": 16, "words": len(words), "unit": unit, "min_count": 1}
        counts = np.arange(len(words), 0, -1)
        save_vectors(
            Vocabulary(words, counts), {"vectors": vectors}, said, tokenizer if unit == "token" else None,
            folder / "model",
        )  # fmt: skip
    return folder / "model"


def louder(model: nn.Module) -> nn.Module:
    """Weights as large as those of a trained model, so that words differ."""
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3.0)
    return model
