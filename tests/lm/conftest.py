"""A tiny corpus, its tokenizer and its token shards, made once per test; and a process that forks others."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.lm.corpus import make_documents, write_documents

torch.set_num_threads(1)

ROOT = Path(__file__).parents[2]
MEMORY = Path("/dev/shm")  # what is killed need not wait for a disk

Answer = dict[str, Any]
Ask = Callable[..., Answer]


@pytest.fixture(scope="session")
def fork_server() -> Iterator[Ask]:
    """fork_server(**request): what `tests.lm.fork_server` answers, asked once; a failure there is one here."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    # Not as a module of its own: a spawned worker would import it again.
    command = [sys.executable, "-c", "from tests.lm.fork_server import main; main()"]
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder,
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen([*command, folder], env=environment, text=True, stdin=-1, stdout=-1, stderr=errors) as server,
    ):
        assert server.stdin is not None
        requests, answers = server.stdin, server.stdout

        @cache
        def ask(**request: Any) -> Answer:
            print(json.dumps(request), file=requests, flush=True)
            assert answers is not None
            answer: Answer = json.loads(answers.readline() or '{"error": "the fork server ended"}')
            if "error" in answer:
                errors.seek(0)
                pytest.fail(f"{answer['error']}\n{errors.read()}")
            return answer

        yield ask
        requests.close()


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
