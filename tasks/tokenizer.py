"""Train the tokenizer on the training documents, and give every kept document its tokens."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from lm.tokenizers.config import TokenizerConfig
from tasks.running.parts import Part, build_parts, one_table
from tasks.running.tables import database
from tasks.stage import NoConfig, Work, stage
from tasks.store import Artifact, Shard


@stage(version=2, libraries=("tokenizers",))
def train_tokenizer(work: Work, config: TokenizerConfig, *, corpus: Artifact, split: Artifact) -> None:
    """Learn a tokenizer of the configured kind from the training documents, in the order of the hash of their ids.

    Raises:
        ValueError: there are none.
    """
    from lm.tokenizer import train_tokenizer as train

    if "train_bytes" not in split.counts():
        counts = corpus.counts()
        raise ValueError(
            f"no document is left to train on ({counts['dropped']:,} dropped, {counts['documents']:,} kept, none of "
            f"them for training): `textmill show {corpus.name}` and `textmill why DOCUMENT` say more"
        )
    paths = [str(shard.path) for shard in corpus.shards()]
    total = min(int(split.counts()["train_bytes"]), config.sample_bytes)
    advance = work.progress.start(total, "bytes")
    with database(work.resources, work.scratch) as connection:
        texts = sample_texts(connection, paths, str(split.file("split.parquet")), config.sample_bytes)
        work.counts.update(train(texts, config, work.directory, advance))


def sample_texts(connection: duckdb.DuckDBPyConnection, paths: list[str], split: str, least: int) -> Iterator[str]:
    """Texts of training documents in the order of the hash of their ids, until they have `least` bytes or all are told.

    The documents are chosen first: to put all texts in order would take their size on disk for a sample of them.
    """
    documents = connection.execute(
        """
        WITH trained AS (
            SELECT id, strlen(text) AS bytes FROM read_parquet($documents)
            SEMI JOIN (FROM read_parquet($split) WHERE split = 'train') USING (id)
        ), placed AS (
            SELECT id, sum(bytes) OVER (ORDER BY md5(id), id ROWS UNBOUNDED PRECEDING) - bytes AS before FROM trained
        )
        SELECT text FROM read_parquet($documents)
        SEMI JOIN (FROM placed WHERE before < $least) USING (id)
        ORDER BY md5(id), id
        """,
        {"documents": paths, "split": split, "least": least},
    )
    while rows := documents.fetchmany(1000):
        for (text,) in rows:
            yield text


@stage(version=1, libraries=("tokenizers",))
def tokenize(work: Work, config: NoConfig, *, corpus: Artifact, tokenizer: Artifact) -> None:
    """Write the tokens of every document of a corpus as memory-mapped shards."""
    shards = corpus.shards()
    parts = [
        Part(
            {"shard": shard.digest, "tokenizer": tokenizer.digest},
            (str(shard.path), str(tokenizer.path)),
            weight=shard.counts.get("bytes", 1),
        )
        for shard in shards
    ]
    build_parts(work, "tokens.shard", 1, tokenize_part, parts, libraries=("tokenizers",), unit="bytes")


def tokenize_part(directory: Path, shard: str, tokenizer: str) -> dict[str, Any]:
    """One shard, in a worker."""
    import os

    # one thread a process: the pool already has a process for every core
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from lm.tokens import tokenize_shard

    counts = tokenize_shard(Path(shard), directory / "tokens", Path(tokenizer))
    return one_table(directory / "tokens.bin", counts)


def token_stems(tokens: Artifact) -> list[Path]:
    """The stems (`.../tokens`) of all token shards, as `lm.tokens` wants them."""
    return [stem(shard) for shard in tokens.shards()]


def count_tables(counted: Artifact) -> list[Path]:
    """Parquet with id and tokens, of what `tokenize` or `count_tokens` wrote."""
    return [path.with_suffix(".parquet") for path in token_stems(counted)]


def stem(shard: Shard) -> Path:
    """The shard's path without its ending."""
    return shard.path.with_suffix("")
