"""Parameters of queries about a corpus."""

from tasks.filter import dropped_tables, kept_tables
from tasks.lineage.curated import Curated


def kept(corpus: Curated) -> list[list[str]]:
    """The tables of what is kept, as the one parameter of a query."""
    return [[str(path) for path in kept_tables(corpus.kept)]]


def dropped(corpus: Curated) -> list[list[str]]:
    """Those of what is dropped."""
    return [[str(path) for path in dropped_tables(corpus.kept)]]


def decided(corpus: Curated) -> list[list[str]]:
    """Those of the decisions."""
    return [[str(shard.path) for shard in corpus.decisions.shards()]]
