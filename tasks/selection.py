"""Some documents of a corpus, as a config selects them by source and id."""

from typing import Any

from data_quality.config import Selection
from data_quality.document_lists import glob
from tasks.store import Artifact

SELECTED = """
    FROM read_parquet($paths)
    WHERE list_bool_or(list_transform($sources::VARCHAR[], lambda pattern: source GLOB pattern))
      AND list_bool_or(list_transform($ids::VARCHAR[], lambda pattern: id GLOB pattern))
"""
"""The rest of a query after its SELECT; its parameters are those of `selected`."""


def selected(corpus: Artifact, selection: Selection) -> dict[str, Any]:
    """The parameters of SELECTED for a corpus."""
    return {
        "paths": [str(shard.path) for shard in corpus.shards()],
        "sources": [glob(pattern) for pattern in selection.sources],
        "ids": [glob(pattern) for pattern in selection.ids],
    }
