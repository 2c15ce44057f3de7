"""Small models of several kinds for the tests of exams: untrained, with weights large enough to have opinions."""

from pathlib import Path

import torch

from lm.artifact import save_model
from lm.models.bert import Bert
from lm.models.bert_config import BertConfig
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.modern import Modern
from lm.models.modern_config import ModernConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.ngram.build import build_ngram
from lm.ngram.config import NgramConfig
from lm.text_model import TextModel, open_model
from lm.tokenizer import encode_documents, load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig, WordPieceConfig

PROSE = [
    "The harbour was quiet and the small boats lay in a row along the old stone wall.",
    "A captain came home in the evening with three letters and a basket of red apples.",
    "She said that the weather would change before the end of the week, and he laughed.",
    "In the garden there were roses, lilies and a lemon tree that nobody had planted.",
    "The teacher asked the children to write down what they had seen on the way.",
    "Two ships left the town at noon; one of them carried salt, the other carried wine.",
]


def tokenizer(folder: Path) -> Path:
    """A byte-level BPE tokenizer of PROSE."""
    train_tokenizer(PROSE * 4, ByteBPEConfig(vocab_size=420), folder / "tokenizer")
    return folder / "tokenizer"


def gpt(folder: Path, context: int = 48, band: int | None = None, width: int = 16) -> TextModel:
    """A GPT of two layers; with a band, GPT-3's."""
    model = GPT(GPTConfig(layers=2, width=width, heads=2, context=context, vocab=_vocab(folder), band=band), 1)
    return _opened(model, folder, "gpt")


def modern(folder: Path) -> TextModel:
    """The modern decoder."""
    return _opened(
        Modern(ModernConfig(layers=2, width=16, heads=2, context=48, vocab=_vocab(folder)), 1), folder, "modern"
    )


def rnn(folder: Path) -> TextModel:
    """A GRU."""
    config = RNNConfig(cell="gru", embedding=8, width=12, vocab=_vocab(folder), initial_span=0.8)
    return _opened(RNNLM(config, seed=1), folder, "rnn")


def ngram(folder: Path, order: int = 3) -> TextModel:
    """Trigrams of PROSE."""
    ids = encode_documents(load_tokenizer(tokenizer(folder)), PROSE)
    build_ngram(ids, folder / "tokenizer", NgramConfig(order=order), folder / "ngram")
    return open_model(folder / "ngram")


def bert(folder: Path) -> TextModel:
    """A BERT of two layers with WordPiece."""
    train_tokenizer(PROSE * 4, WordPieceConfig(kind="wordpiece", vocab_size=200), folder / "wordpiece")
    vocab = load_tokenizer(folder / "wordpiece").get_vocab_size()
    model = Bert(BertConfig(layers=2, width=16, heads=2, context=48, vocab=vocab), seed=1)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(4)
    save_model(model, folder / "wordpiece", folder / "bert")
    return open_model(folder / "bert")


def _vocab(folder: Path) -> int:
    return load_tokenizer(tokenizer(folder)).get_vocab_size()


def _opened(model: torch.nn.Module, folder: Path, name: str) -> TextModel:
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(6)
    save_model(model, folder / "tokenizer", folder / name)
    return open_model(folder / name)
