"""Token shards for tests of masked language models: sentences of random words, so that statistics have room."""

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from lm.similar_words import SimilarWords, find_similar_words
from lm.tokenizer import train_tokenizer
from lm.tokenizers.config import ByteBPEConfig, TokenizerConfig, WordPieceConfig
from lm.tokens import TokenIndex, build_index, tokenize_shard
from lm.vectors.config import Word2VecConfig
from lm.words_in_tokens import Segment

SYLLABLES = ["ba", "de", "ki", "lo", "mu", "na", "po", "ri", "sa", "tu"]


def documents(count: int, seed: int = 0, sentences: int = 12) -> list[str]:
    """Documents of up to twice `sentences` sentences of 3 to 20 words of one to four syllables."""
    draw = random.Random(seed)

    def word() -> str:
        return "".join(draw.choices(SYLLABLES, k=draw.choice([1, 1, 2, 2, 3, 4])))

    def sentence() -> str:
        return " ".join(word() for _ in range(draw.randint(3, 20))).capitalize() + draw.choice([".", ".", "!", "?"])

    return [" ".join(sentence() for _ in range(draw.randint(1, 2 * sentences))) for _ in range(count)]


def make_index(folder: Path, texts: list[str], config: TokenizerConfig | None = None) -> tuple[TokenIndex, Path]:
    """The texts in tokens, and the folder of their tokenizer (WordPiece of 300, if no other is asked for)."""
    config = config or WordPieceConfig(kind="wordpiece", vocab_size=300)
    tokenizer = folder / "tokenizer"
    train_tokenizer(texts, config, tokenizer)
    pq.write_table(pa.table({"id": [f"{n:06d}" for n in range(len(texts))], "text": texts}), folder / "texts.parquet")
    tokenize_shard(folder / "texts.parquet", folder / "shard", tokenizer)
    return build_index([folder / "shard"]), tokenizer


def make_similar(index: TokenIndex, tokenizer: Tokenizer, segment: Segment | None = None) -> SimilarWords:
    """The similar words of an index."""
    vectors = Word2VecConfig(kind="word2vec", dimensions=8, min_count=1, epochs=1)
    with TemporaryDirectory() as scratch:
        return find_similar_words(index, tokenizer, segment, vectors, Path(scratch), count=5)


ROBERTA = ByteBPEConfig(vocab_size=400, special_tokens="roberta")
