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

Where an earlier result is handed in, steps 2 to 4 are for what changed alone (`substring_again`).
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
from data_quality.dedupe.substring_again import (
    PRINT,
    SPANS,
    begin_again,
    carry_hits,
    carry_spans,
    drop_state,
    write_state,
)
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
    keep_state: bool = False,
    previous: Path | None = None,
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
        document_paths, window_paths: shards of documents, and what `window_shard` made of the same documents, in any
            order and cut into any shards.
        verdict_paths: Parquet with id and first_reason (null: passes); documents that fail are left out.
        duplicate_paths: tables of DUPLICATES_SCHEMA; documents dropped there are left out. A document that goes
            anyway neither loses text nor is the copy for which another loses some.
        keep_state: also write `prints.parquet` and `runs.parquet` (see `substring_again`) into the directory of
            `spans_path`, which then is `spans.parquet`.
        previous: the directory of an earlier `spans.parquet` with its state. A hint: it saves work and changes no byte
            of the result; one made with another config is not looked at.
        temp_directory: existing directory of this call alone, for what does not fit into memory.
        memory_limit: DuckDB's; beside it `config.group_bytes` are used, with `previous` up to twice as many.
        progress: told of windows, each twice (`repeats.find_hits`).

    Returns:
        Counts: documents (taken part), characters (theirs), windows, groups, hits (repeated windows), matches,
        unequal (matches that the real texts did not confirm), spans, edited (documents), removed (characters),
        too_little_left; solved (documents whose spans were not copied from `previous`).

    Raises:
        ValueError: tables that were made of other documents or with another number of tokens, an id twice; a state is
            to be kept beside a file that is not called `spans.parquet`.
        DamagedFile: the state in `previous` cannot be read.
    """
    if keep_state and Path(spans_path).name != SPANS:
        raise ValueError(f"{spans_path} has a state beside it, with which a later run looks for {SPANS}: call it that")
    _check_windows(document_paths, window_paths, config.window)
    with open_database(temp_directory, memory_limit, threads) as (sql, directory):
        documents, characters = _rank_documents(
            sql, document_paths, window_paths, config, verdict_paths, duplicate_paths
        )
        changed = begin_again(sql, window_paths, Path(previous), config) if previous is not None else None
        found = find_hits(
            sql,
            window_paths,
            directory,
            group_bytes=config.group_bytes,
            within_document=config.within_document,
            changed=changed,
            progress=progress,
        )
        carried = carry_hits(sql) if changed is not None else 0
        join_hits(sql, config.window.tokens)
        find_cuts(sql, document_paths, config.window.tokens)
        if changed is not None and previous is not None:
            carry_spans(sql, Path(previous))
        if Path(spans_path).name == SPANS:
            drop_state(Path(spans_path).parent)
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
        if keep_state:
            write_state(sql, Path(spans_path).parent, config)
        hits, matches, spans = single_row(
            sql,
            """
            SELECT (SELECT coalesce(sum(last - "start" + 1), 0)::BIGINT FROM runs),
                   (SELECT coalesce(sum(matches), 0)::BIGINT FROM matched), (SELECT count(*) FROM spans)
            """,
        )
    return {
        "documents": documents,
        "characters": characters,
        **found,
        "hits": hits,
        "matches": matches,
        "unequal": matches - spans,
        "spans": spans,
        **left,
        "solved": documents - carried,
    }


def _check_windows(document_paths: Sequence[Path], window_paths: Sequence[Path], config: WindowConfig) -> None:
    for windows in window_paths:
        found = (pq.read_schema(windows).metadata or {}).get(WINDOWS_KEY, b"nothing of the kind").decode()
        if found != made_with(config):
            raise ValueError(
                f"{windows} holds windows of {found}, the config says {made_with(config)}: "
                "write it with window_shard and this config"
            )
    documents = sum(pq.read_metadata(path).num_rows for path in document_paths)
    rows = sum(pq.read_metadata(path).num_rows for path in window_paths)
    if documents != rows:
        raise ValueError(
            f"the shards of documents have {documents} rows, the tables of windows {rows}: "
            "give one table for each shard"
        )


def _rank_documents(
    sql: duckdb.DuckDBPyConnection,
    document_paths: Sequence[Path],
    window_paths: Sequence[Path],
    config: SubstringConfig,
    verdict_paths: Sequence[Path],
    duplicate_paths: Sequence[Path],
) -> tuple[int, int]:
    """Create table `documents` (rank, id, chars, windows, print; file and row of the windows, text_file and text_row of
    the text) of those that take part; return how many, and their characters."""
    left_out = ""
    if verdict_paths:
        left_out += f" ANTI JOIN (SELECT id FROM {parquet(verdict_paths)} WHERE first_reason IS NOT NULL) USING (id)"
    if duplicate_paths:
        left_out += f" ANTI JOIN (SELECT dropped AS id FROM {parquet(duplicate_paths)}) USING (id)"
    sql.execute(
        f"""
        CREATE TABLE taking_part AS
        SELECT id, source, chars, windows, file_index::INTEGER AS file, file_row_number AS row
        FROM {numbered_rows(window_paths)} {left_out}
        """
    )
    count = check_unique(sql, "taking_part")
    sql.execute(
        f"""
        CREATE TABLE documents AS
        SELECT (row_number() OVER (ORDER BY {preference(config.keep)}) - 1)::INTEGER AS rank, id, chars,
               {PRINT} AS print, windows, file, row, text_file, text_row
        FROM taking_part s
        LEFT JOIN (SELECT id, text_hash, file_index::INTEGER AS text_file, file_row_number AS text_row
                   FROM {numbered_rows(document_paths)}) USING (id)
        """
    )
    sql.execute("DROP TABLE taking_part")
    unknown = sql.execute("SELECT file, row, id FROM documents WHERE text_file IS NULL ORDER BY ALL LIMIT 1").fetchall()
    for file, row, id in unknown:
        raise ValueError(
            f"{window_paths[file]} row {row + 1} has the windows of document {id!r}, which no shard of documents has: "
            "it was made of another one"
        )
    [characters] = single_row(sql, "SELECT coalesce(sum(chars), 0)::BIGINT FROM documents")
    return count, characters
