"""One small config for each kind of tokenizer, texts to learn from and texts that are hard."""

import random
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tokenizers import Tokenizer

from lm.tokenizer import load_tokenizer, train_tokenizer
from lm.tokenizers.common import END_OF_TEXT
from lm.tokenizers.config import (
    ByteBPEConfig,
    CharacterConfig,
    TokenizerConfig,
    UnigramConfig,
    WordConfig,
    WordPieceConfig,
)

CONFIGS: dict[str, TokenizerConfig] = {
    "byte_bpe": ByteBPEConfig(vocab_size=600),
    "character": CharacterConfig(kind="character", vocab_size=600),
    "character-unk": CharacterConfig(kind="character", vocab_size=50, unknown="unk"),
    "wordpiece": WordPieceConfig(kind="wordpiece", vocab_size=600),
    "wordpiece-cased": WordPieceConfig(kind="wordpiece", vocab_size=300, lowercase=False, strip_accents=False),
    "unigram": UnigramConfig(kind="unigram", vocab_size=500, character_coverage=0.998),
    "word": WordConfig(kind="word", vocab_size=150),
    "word-separate": WordConfig(kind="word", vocab_size=150, spaces="separate"),
}
LOSSLESS = ("byte_bpe", "character", "unigram")
"""Kinds under which decoding gives back every text."""

NASTY = [
    "",
    " ",
    "\n",
    "plain words",
    "  two  spaces \t tab\r\n\n\nlines  ",
    "中文没有空格所以一个句子看起来像一个很长很长的词" * 9,
    "日本語のテキスト、カタカナとひらがな。한국어 텍스트도 있습니다.",
    "模型 学习data数据，测试！Model学习。",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 😀👩‍👩‍👧 e\u0301 \u200b\ufeff नमस्ते ภาษาไทย",
    "\x00\x01 control \x7f \x1c\x85\u2028",
    "don't you'll I'm ''''s rock'n'roll l’été",
    "3.14 1,000,000 192.168.0.1 2026-11-25",
    "1234567890" * 20 + "!" * 100 + " " * 100 + "x",
    f"a document that says {END_OF_TEXT} and <unk> and <0x41> and [SEP] [MASK] [UNK] ##ing in its text",
    "Crème Brûlée İstanbul ﬁn ẞ ＦＵＬＬ ½",
]


def training_texts() -> list[str]:
    """Two hundred texts of English and Chinese words in Zipf's proportions, and some that occur once."""
    draw = random.Random(5)
    syllables = ["ka", "to", "mi", "ren", "sol", "ing", "ed", "un", "re", "tion", "a", "the"]
    words = [
        "the",
        "模型",
        "学习",
        "数据",
        "中国",
        "语言",
        "café",
        "Brûlée",
        "日本語",
        "한국어",
        "don't",
        "3.14",
        "(x)",
    ]
    words += ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(300)]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    texts = []
    for number in range(200):
        chosen = draw.choices(words, weights, k=draw.randint(5, 60))
        joined = ("" if number % 5 == 0 else " ").join(chosen).capitalize()
        texts.append(joined + (f", {number} rare{number * 7919}.\n\n" if number % 3 else "。"))
    return texts


def trained(kind: str, directory: Path) -> Path:
    """The folder of a tokenizer of this kind, learned from `training_texts`."""
    train_tokenizer(training_texts(), CONFIGS[kind], directory)
    return directory


@cache
def of_kind(kind: str) -> Tokenizer:
    """A tokenizer for many examples of hypothesis."""
    with TemporaryDirectory() as directory:
        return load_tokenizer(trained(kind, Path(directory)))
