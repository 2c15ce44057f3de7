"""Perplexity of documents under a language model that is handed in, and head, middle and tail of each language.

cc_net (Wenzek et al. 2019, arXiv 1911.00359, section 3.4) sorts the documents of a language by perplexity under a model
of good text; the least surprising 30 % are `head`, up to 60 % `middle`, the rest `tail`. The library only knows a
`Scorer`: any model of `lm/` can stand behind it. The unigram model here needs no training but counting.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import PerplexityConfig
from data_quality.language_tables import with_languages
from data_quality.shards import read_batches, whole_parquet
from data_quality.sql import connect, write_rows
from data_quality.words import split_words

PERPLEXITY_SCHEMA = pa.schema(
    [pa.field("id", pa.string(), nullable=False), ("language", pa.string()), ("perplexity", pa.float64())]
)
BUCKETS_SCHEMA = pa.schema(
    [*PERPLEXITY_SCHEMA, ("perplexity_percentile", pa.float64()), ("perplexity_bucket", pa.string())]
)


class Scorer(Protocol):
    """A language model, as this module sees it."""

    def __call__(self, text: str, language: str | None) -> float | None:
        """Perplexity per unit of the model (word, token) of a text; None for a language it does not know or no text."""
        ...


class UnigramScorer:
    """Perplexity per word under word frequencies with add-one smoothing, one model for each language.

    A word never seen has the probability of a word with a count of 0. It knows topics, not grammar.
    """

    def __init__(self, counts: dict[str | None, Counter[str]]) -> None:
        self._logs: dict[str | None, dict[str, float]] = {}
        self._unseen: dict[str | None, float] = {}
        for language, words in counts.items():
            total = sum(words.values()) + len(words) + 1
            self._logs[language] = {word: math.log((count + 1) / total) for word, count in words.items()}
            self._unseen[language] = math.log(1 / total)

    def __call__(self, text: str, language: str | None) -> float | None:
        """exp of the mean of -ln p(word)."""
        words = split_words(text, language)
        if not words or language not in self._logs:
            return None
        logs, unseen = self._logs[language], self._unseen[language]
        return math.exp(-math.fsum(logs.get(word, unseen) for word in words) / len(words))


def count_words(documents: Iterable[tuple[str, str | None]]) -> dict[str | None, Counter[str]]:
    """Word counts by language of (text, language) pairs: what `UnigramScorer` is made of."""
    counts: dict[str | None, Counter[str]] = {}
    for text, language in documents:
        counts.setdefault(language, Counter()).update(split_words(text, language))
    return counts


COUNTS_SCHEMA = pa.schema(
    [("language", pa.string()), pa.field("word", pa.string(), nullable=False), ("count", pa.int64())]
)


def save_counts(counts: dict[str | None, Counter[str]], path: Path) -> None:
    """Write word counts (language, word, count), by language and word."""
    rows = [
        (language, word, count)
        for language in sorted(counts, key=lambda name: name or "")
        for word, count in sorted(counts[language].items())
    ]
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    arrays = [pa.array(column, field.type) for column, field in zip(columns, COUNTS_SCHEMA, strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=COUNTS_SCHEMA), path, compression="zstd")


def load_counts(path: Path) -> dict[str | None, Counter[str]]:
    """What `save_counts` wrote."""
    counts: dict[str | None, Counter[str]] = {}
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            for language, word, count in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                counts.setdefault(language, Counter())[word] = count
    return counts


def perplexity_shard(
    in_path: Path,
    out_path: Path,
    scorer: Scorer,
    progress: Callable[[int], None] = lambda documents: None,
    languages: Sequence[Path] = (),
) -> dict[str, int]:
    """Write id, language and perplexity of every document of a shard, in its order.

    With `languages`, language tables (`language.identify_shard`) that hold all the documents, the language is theirs.
    Returns documents and scored (those that the scorer gave a number).

    Raises:
        ValueError: the shard lacks id, text or language, or the language tables a document.
    """
    counts = {"documents": 0, "scored": 0}
    with whole_parquet(out_path, PERPLEXITY_SCHEMA) as out:
        for batch in with_languages(
            read_batches(in_path, ["id", "text", "language"]), in_path, languages, ("language",)
        ):
            columns = batch.to_pydict()
            scores = [scorer(*pair) for pair in zip(columns["text"], columns["language"], strict=True)]
            rows = {"id": columns["id"], "language": columns["language"], "perplexity": scores}
            out.write_table(pa.table(rows, schema=PERPLEXITY_SCHEMA))
            counts["documents"] += len(scores)
            counts["scored"] += sum(score is not None for score in scores)
            progress(len(scores))
    return counts


def perplexity_buckets(
    paths: Sequence[Path],
    out_paths: Sequence[Path],
    config: PerplexityConfig,
    memory_limit: str = "1GB",
    threads: int = 1,
    scratch: Path | None = None,
) -> dict[str, Any]:
    """Write id, language, perplexity, perplexity_percentile and perplexity_bucket of every document.

    Each shard of `paths` gets a table of its own, in the shard's order.

    The percentile says which share of the language's scored documents are at most as surprising, 0 to 100. The bucket
    is head, middle or tail; `all` without a score or in a language of fewer than `minimum_documents` scored ones (then
    the percentile is null too). What does not fit into memory goes to `scratch`, by default beside the first table.

    Returns:
        documents, and by language `cutoffs`: the perplexities at the two percentiles.

    Raises:
        ValueError: there is no path.
    """
    if not paths:
        raise ValueError("perplexity_buckets needs at least one perplexity shard")
    parameters = {
        "paths": [str(path) for path in paths],
        "head": config.head,
        "middle": config.middle,
        "minimum": config.minimum_documents,
    }
    with connect(memory_limit, threads, scratch or out_paths[0].with_suffix(".spill")) as connection:
        connection.execute(
            """
            CREATE TABLE ranked AS
            WITH scored AS (
                SELECT file_index::INTEGER AS shard, file_row_number AS row, id, language, perplexity,
                       count(perplexity) OVER same AS n,
                       100.0 * cume_dist() OVER (PARTITION BY language, perplexity IS NULL ORDER BY perplexity) AS share
                FROM read_parquet($paths, file_row_number = true) WINDOW same AS (PARTITION BY language)
            )
            SELECT shard, row, id, language, perplexity,
                   CASE WHEN perplexity IS NOT NULL AND n >= $minimum THEN share END AS perplexity_percentile,
                   CASE WHEN perplexity_percentile IS NULL THEN 'all' WHEN perplexity_percentile <= $head THEN 'head'
                        WHEN perplexity_percentile <= $middle THEN 'middle' ELSE 'tail' END AS perplexity_bucket
            FROM scored ORDER BY shard, row
            """,
            parameters,
        )
        cutoffs = connection.execute(
            """
            SELECT language, max(perplexity) FILTER (perplexity_bucket = 'head'),
                   max(perplexity) FILTER (perplexity_bucket IN ('head', 'middle'))
            FROM ranked WHERE perplexity_bucket != 'all' GROUP BY language ORDER BY language
            """
        ).fetchall()
        columns = ", ".join(BUCKETS_SCHEMA.names)
        for number, out_path in enumerate(out_paths):
            here = f"SELECT {columns} FROM ranked WHERE shard = {number} ORDER BY row"
            write_rows(connection.sql(here), BUCKETS_SCHEMA, out_path)
        [(documents,)] = connection.execute("SELECT count(*) FROM ranked").fetchall()
    return {
        "documents": documents,
        "cutoffs": {language or "unknown": [head, middle] for language, head, middle in cutoffs},
    }
