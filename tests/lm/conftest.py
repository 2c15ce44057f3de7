"""A tiny corpus, its tokenizer and its token shards, made once per test."""

from pathlib import Path

import pytest
import torch

from tests.lm.corpus import make_documents, write_documents

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def random_state() -> None:
    """A test draws the same numbers whichever tests its process ran before."""
    torch.manual_seed(0)


@pytest.fixture
def documents() -> dict[str, str]:
    return make_documents(120)


@pytest.fixture
def tokenizer_dir(tmp_path: Path, documents: dict[str, str]) -> Path:
    from lm.tokenizer import train_tokenizer
    from lm.tokenizers.config import ByteBPEConfig

    train_tokenizer(documents.values(), ByteBPEConfig(vocab_size=300), tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


@pytest.fixture
def shards(tmp_path: Path, documents: dict[str, str], tokenizer_dir: Path) -> list[Path]:
    """The corpus as three token shards of unequal size."""
    from lm.tokens import tokenize_shard

    stems, items = [], list(documents.items())
    for n, part in enumerate((items[:20], items[20:90], items[90:])):
        source = write_documents(tmp_path / f"documents/{n:05d}.parquet", dict(part))
        stems.append(tmp_path / f"tokens/{n:05d}")
        tokenize_shard(source, stems[-1], tokenizer_dir)
    return stems
