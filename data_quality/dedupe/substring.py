"""Exact substrings: a run of at least n tokens that stands in two documents stays in one of them.

Lee et al. 2022 (arXiv 2107.06499, section 4.1) find such runs with a suffix array. As the least length is fixed, they
are also exactly the union of the n-token windows that come twice, and windows, unlike suffixes, can be cut into
independent groups by their own hash. So the result is that of one suffix array over the whole corpus, whatever the
number of groups and shards, and nothing is missed between two groups, as it is if documents are grouped.

1. `window_shard` (`windows`) hashes the windows of every shard.
2. Documents are ranked by the keep policy. Of the windows that come twice, the first in (rank, place) order is the
   copy that stays; every other is a hit (`repeats`). One group of hashes at a time.
3. Hits in a row with copies in a row are one match; of overlapping matches the fewest that cover the same tokens.
4. Both sides of a match are read again in the real texts and compared; only equal ones become spans.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from data_quality.config import SubstringConfig, WindowConfig
from data_quality.dedupe.evidence import LEFTOVERS_SCHEMA, create_leftovers
from data_quality.dedupe.keep import preference
from data_quality.dedupe.matches import find_cuts, join_hits
from data_quality.dedupe.repeats import find_hits
from data_quality.dedupe.windows import WINDOWS_KEY, made_with
from data_quality.spans import SPANS_SCHEMA
from data_quality.sql import check_unique, numbered_rows, open_database, parquet, single_row, write_rows

TOO_LITTLE_LEFT = "substring.too_little_left"


def substring_spans(
    document_paths: Sequence[Path],
    window_paths: Sequence[Path],
    spans_path: Path,
    leftovers_path: Path,
    config: SubstringConfig,
    *,
    verdict_paths: Sequence[Path] = (),
    duplicate_paths: Sequence[Path] = (),
    temp_directory: Path,
    memory_limit: str = "1GiB",
    threads: int = 1,
    progress: Callable[[int], None] = lambda n: None,
) -> dict[str, int]:
    """Write the spans of the corpus that another kept document holds too, and the documents with too little left.

    Spans (SPANS_SCHEMA by id and start) have kind "substring"; text[start:end] equals the text of `other` from
    `other_start` on but for white space, and the white space behind may go with it. Spans of a document may overlap.

    What holds afterwards: no `config.window.tokens` tokens in a row that a span has not cut stand in two documents, or
    twice in one if `within_document`. (Tokens that a removal brought together may.) Every removed token still stands
    somewhere: in the other document, or, if that part went too, in the one for which it went.

    Args:
        document_paths, window_paths: shards of documents, and what `window_shard` made of each, in the same order.
        verdict_paths: Parquet with id and first_reason (null: passes); documents that fail are left out.
        duplicate_paths: tables of DUPLICATES_SCHEMA; documents dropped there are left out. A document that goes
            anyway neither loses text nor is the copy for which another loses some.
        temp_directory: existing directory of this call alone, for what does not fit into memory.
        memory_limit: DuckDB's; beside it `config.group_bytes` are used.
        progress: told of windows, each twice (`repeats.find_hits`).

    Returns:
        Counts: documents (taken part), characters (theirs), windows, groups, hits (repeated windows), matches,
        unequal (matches that the real texts did not confirm), spans, edited (documents), removed (characters),
        too_little_left.

    Raises:
        ValueError: tables that were made of other documents or with another number of tokens, an id twice.
    """
    _check_windows(document_paths, window_paths, config.window)
    with open_database(temp_directory, memory_limit, threads) as (sql, directory):
        documents, characters = _rank_documents(sql, window_paths, config, verdict_paths, duplicate_paths)
        found = find_hits(
            sql,
            window_paths,
            directory,
            group_bytes=config.group_bytes,
            within_document=config.within_document,
            progress=progress,
        )
        matches = join_hits(sql, config.window.tokens)
        unequal = find_cuts(sql, document_paths, config.window.tokens)
        write_rows(
            sql.sql('FROM spans ORDER BY id, "start", "end", other, other_start'), SPANS_SCHEMA, Path(spans_path)
        )
        left = create_leftovers(
            sql,
            TOO_LITTLE_LEFT,
            documents="SELECT id, chars FROM documents",
            min_characters=config.min_left_characters,
            min_share=config.min_left_share,
        )
        write_rows(sql.sql("FROM leftovers ORDER BY id"), LEFTOVERS_SCHEMA, Path(leftovers_path))
    return {
        "documents": documents,
        "characters": characters,
        **found,
        "matches": matches,
        "unequal": unequal,
        "spans": matches - unequal,
        **left,
    }


def _check_windows(document_paths: Sequence[Path], window_paths: Sequence[Path], config: WindowConfig) -> None:
    if len(document_paths) != len(window_paths) or not window_paths:
        raise ValueError(
            f"{len(document_paths)} shards of documents and {len(window_paths)} of windows: give one for each"
        )
    for documents, windows in zip(document_paths, window_paths, strict=True):
        found = (pq.read_schema(windows).metadata or {}).get(WINDOWS_KEY, b"nothing of the kind").decode()
        if found != made_with(config):
            raise ValueError(
                f"{windows} holds windows of {found}, the config says {made_with(config)}: "
                "write it with window_shard and this config"
            )
        rows, expected = pq.read_metadata(windows).num_rows, pq.read_metadata(documents).num_rows
        if rows != expected:
            raise ValueError(f"{windows} has {rows} rows, {documents} {expected}: it was made of another shard")


def _rank_documents(
    sql: duckdb.DuckDBPyConnection,
    window_paths: Sequence[Path],
    config: SubstringConfig,
    verdict_paths: Sequence[Path],
    duplicate_paths: Sequence[Path],
) -> tuple[int, int]:
    """Create table `documents` (rank, id, chars, windows, file, row) of those that take part; return how many, and
    their characters."""
    left_out = ""
    if verdict_paths:
        left_out += f" ANTI JOIN (SELECT id FROM {parquet(verdict_paths)} WHERE first_reason IS NOT NULL) USING (id)"
    if duplicate_paths:
        left_out += f" ANTI JOIN (SELECT dropped AS id FROM {parquet(duplicate_paths)}) USING (id)"
    sql.execute(
        f"""
        CREATE TABLE documents AS
        SELECT (row_number() OVER (ORDER BY {preference(config.keep)}) - 1)::INTEGER AS rank, id, chars,
               len(windows) AS windows, file_index::INTEGER AS file, file_row_number AS row
        FROM {numbered_rows(window_paths)} s {left_out}
        """
    )
    count = check_unique(sql, "documents")
    [characters] = single_row(sql, "SELECT coalesce(sum(chars), 0)::BIGINT FROM documents")
    return count, characters
