"""Tokens of every kept document under a tokenizer that no model here is trained with: for a budget of the mixture."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.running.parts import Part, build_parts, one_table
from tasks.stage import NoConfig, Work, stage
from tasks.storage.files import copy_hashed, file_sha256
from tasks.store import Artifact

TOKENIZER = "tokenizer.json"


class AdoptTokenizerConfig(BaseModel):
    """A `tokenizer.json` and its hash; the path does not shape the result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path
    sha256: str

    @classmethod
    def of(cls, file: Path) -> "AdoptTokenizerConfig":
        """Fingerprint a file. Raises FileNotFoundError or ValueError if it is no tokenizer."""
        from lm.tokenizer import read_tokenizer

        read_tokenizer(file)
        return cls(file=file, sha256=file_sha256(file))

    def key_material(self) -> dict[str, Any]:
        """The file's hash."""
        return {"sha256": self.sha256}


@stage(version=1)
def adopt_tokenizer(work: Work, config: AdoptTokenizerConfig) -> None:
    """Take a tokenizer from outside into the store, byte by byte. Raises ValueError if it is none, or another now."""
    from lm.tokenizer import read_tokenizer

    copy = work.directory / TOKENIZER
    copy_hashed(config.file, copy, config.sha256)
    work.counts["vocab_size"] = read_tokenizer(copy).get_vocab_size()


@stage(version=1, libraries=("tokenizers",))
def count_tokens(work: Work, config: NoConfig, *, corpus: Artifact, tokenizer: Artifact) -> None:
    """Write id and tokens of every document, a table for each shard. `tokenizer`: an artifact with a tokenizer.json."""
    file = tokenizer.file(TOKENIZER)
    sha256 = file_sha256(file)
    parts = [
        Part(
            {"shard": shard.digest, "tokenizer": sha256},
            (str(shard.path), str(file)),
            weight=shard.counts.get("bytes", 1),
        )
        for shard in corpus.shards()
    ]
    build_parts(work, "token_counts.shard", 1, count_part, parts, libraries=("tokenizers",), unit="bytes")


def count_part(directory: Path, shard: str, tokenizer: str) -> dict[str, Any]:
    """One shard, in a worker."""
    import os

    # one thread a process: the pool already has a process for every core
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from lm.token_counts import count_shard

    out = directory / "tokens.parquet"
    return one_table(out, count_shard(Path(shard), out, Path(tokenizer)))
