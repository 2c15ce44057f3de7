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

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import SubstringConfig
from data_quality.dedupe.evidence import LEFTOVERS_SCHEMA, leftovers_query, open_database, parquet
from data_quality.dedupe.exact import preference, single_row
from data_quality.dedupe.minhash import write_rows
from data_quality.dedupe.repeats import find_hits
from data_quality.dedupe.windows import TOKENS_KEY, tokenize
from data_quality.spans import SPANS_SCHEMA

TOO_LITTLE_LEFT = "substring.too_little_left"
_ROW_GROUP = 2_000
_FETCHED = 50_000


@dataclass(frozen=True, slots=True)
class Match:
    """Tokens [start, end) of the document `rank` equal those of `other` from `other_start` on."""

    rank: int
    start: int
    end: int
    other: int
    other_start: int


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
    `other_start` on but for white space, and the white space behind a span goes with it. Spans do not overlap.

    What holds afterwards: no `config.window.tokens` tokens in a row that a span has not cut stand in two documents, or
    twice in one if `within_document`. (Tokens that a removal brought together may.) Every removed token still stands
    somewhere: in the other document, or, if that part went too, in the one for which it went.

    Args:
        document_paths, window_paths: shards of documents, and what `window_shard` made of each, in the same order.
        verdict_paths: Parquet with id and first_reason (null: passes); documents that fail are left out.
        duplicate_paths: tables of DUPLICATES_SCHEMA; documents dropped there are left out. A document that goes
            anyway neither loses text nor is the copy for which another loses some.
        temp_directory: existing directory for what does not fit into memory.
        memory_limit: DuckDB's; beside it `config.group_bytes` are used.
        progress: told of windows, each twice (`repeats.find_hits`).

    Returns:
        Counts: documents (taken part), characters (theirs), windows, groups, hits (repeated windows), matches,
        unequal (matches that the real texts did not confirm), spans, edited (documents), removed (characters),
        too_little_left.

    Raises:
        ValueError: tables that were made of other documents or with another number of tokens, an id twice.
    """
    _check_windows(document_paths, window_paths, config.window.tokens)
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
        matches = _write_matches(sql, config.window.tokens)
        for number, path in enumerate(document_paths):
            _place_matches(sql, number, path)
        unequal = _resolve_spans(sql)
        write_rows(sql.sql('FROM spans ORDER BY id, "start"'), SPANS_SCHEMA, Path(spans_path))
        leftovers = leftovers_query(
            TOO_LITTLE_LEFT,
            spans='SELECT id, "start", "end" FROM spans',
            documents="SELECT id, chars FROM documents",
            min_characters=config.min_left_characters,
            min_share=config.min_left_share,
        )
        sql.execute(f"CREATE TABLE leftovers AS {leftovers}")
        write_rows(sql.sql("FROM leftovers ORDER BY id"), LEFTOVERS_SCHEMA, Path(leftovers_path))
        spans, edited, removed = single_row(
            sql, 'SELECT count(*), count(DISTINCT id), coalesce(sum("end" - "start"), 0)::BIGINT FROM spans'
        )
        [too_little] = single_row(sql, "SELECT count(*) FROM leftovers")
    return {
        "documents": documents,
        "characters": characters,
        **found,
        "matches": matches,
        "unequal": unequal,
        "spans": spans,
        "edited": edited,
        "removed": removed,
        "too_little_left": too_little,
    }


def _check_windows(document_paths: Sequence[Path], window_paths: Sequence[Path], tokens: int) -> None:
    if len(document_paths) != len(window_paths) or not window_paths:
        raise ValueError(
            f"{len(document_paths)} shards of documents and {len(window_paths)} of windows: give one for each"
        )
    for documents, windows in zip(document_paths, window_paths, strict=True):
        made_with = (pq.read_schema(windows).metadata or {}).get(TOKENS_KEY)
        if made_with is None or int(made_with) != tokens:
            raise ValueError(
                f"{windows} holds {'no windows' if made_with is None else f'windows of {int(made_with)} tokens'}, "
                f"the config says {tokens}: write it with window_shard and this config"
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
    """Create table `documents` (rank, id, chars, windows, file, row) of those that take part; their number and characters."""
    left_out = ""
    if verdict_paths:
        left_out += f" ANTI JOIN (SELECT id FROM {parquet(verdict_paths)} WHERE first_reason IS NOT NULL) USING (id)"
    if duplicate_paths:
        left_out += f" ANTI JOIN (SELECT dropped AS id FROM {parquet(duplicate_paths)}) USING (id)"
    each = " UNION ALL ".join(
        f"SELECT id, source, chars, len(windows) AS windows, {number} AS file, file_row_number AS row "
        f"FROM read_parquet({_quoted(path)}, file_row_number = true)"
        for number, path in enumerate(window_paths)
    )
    sql.execute(
        f"""
        CREATE TABLE documents AS
        SELECT (row_number() OVER (ORDER BY {preference(config.keep)}) - 1)::INTEGER AS rank, id, chars,
               windows, file::INTEGER AS file, row
        FROM ({each}) {left_out}
        """
    )
    count, characters, ids, twice = single_row(
        sql,
        "SELECT coalesce(sum(n), 0)::BIGINT, coalesce(sum(c), 0)::BIGINT, count(*), min(id) FILTER (n > 1) "
        "FROM (SELECT id, count(*) AS n, sum(chars) AS c FROM documents GROUP BY id)",
    )
    if twice is not None:
        raise ValueError(
            f"{count} documents have {ids} ids, {twice!r} is one that comes twice: ids must be unique across all shards"
        )
    return count, characters


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _write_matches(sql: duckdb.DuckDBPyConnection, tokens: int) -> int:
    """Create table `matches` (match, rank, start, end, other, other_start; positions are tokens) and count them."""
    sql.execute(
        """
        CREATE TABLE runs AS
        SELECT rank, min(place)::BIGINT AS "start", max(place)::BIGINT AS last, min(first) AS first FROM (
            SELECT rank, place, first, first::HUGEINT - place AS apart,
                   place - row_number() OVER (PARTITION BY rank, first::HUGEINT - place ORDER BY place) AS island
            FROM hits
        ) GROUP BY rank, apart, island
        """
    )
    sql.execute(
        'CREATE TABLE matches (match BIGINT, rank INTEGER, start BIGINT, "end" BIGINT, other INTEGER, '
        "other_start BIGINT)"
    )
    runs = sql.cursor().execute(
        f'SELECT rank, "start", last + {tokens}, (first >> 32)::INTEGER, (first & 4294967295)::BIGINT '
        'FROM runs ORDER BY rank, "start", last'
    )
    number = 0
    waiting: list[tuple[int, ...]] = []
    for _, of_document in groupby(_rows(runs), key=itemgetter(0)):
        for match in cover(Match(*row) for row in of_document):
            waiting.append((number, match.rank, match.start, match.end, match.other, match.other_start))
            number += 1
        if len(waiting) >= _FETCHED:
            _insert(sql, "matches", waiting)
            waiting = []
    _insert(sql, "matches", waiting)
    return number


def _rows(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[int, ...]]:
    while rows := cursor.fetchmany(_FETCHED):
        yield from rows


def _insert(sql: duckdb.DuckDBPyConnection, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        columns = {f"c{number}": values for number, values in enumerate(zip(*rows, strict=True))}
        sql.register("incoming", pa.table(columns))
        sql.execute(f"INSERT INTO {table} FROM incoming")
        sql.unregister("incoming")


def cover(matches: Iterable[Match]) -> Iterator[Match]:
    """The fewest of a document's matches, ascending by start, that cover the same tokens, cut so that none overlap.

    Greedy: of the matches that begin within what is covered, the one that reaches farthest.
    """
    reached, best = -1, None
    for match in matches:
        if best is not None and match.start > reached:
            yield _from(best, reached)
            reached, best = best.end, None
        if match.start > reached:
            if best is None:
                reached, best = match.start, match
        elif match.end > (best.end if best is not None else reached):
            best = match
    if best is not None:
        yield _from(best, reached)


def _from(match: Match, start: int) -> Match:
    skipped = max(0, start - match.start)
    return Match(match.rank, match.start + skipped, match.end, match.other, match.other_start + skipped)


def _place_matches(sql: duckdb.DuckDBPyConnection, number: int, path: Path) -> None:
    """Add to table `places` (match, side, start, end, digest) where matches stand in the texts of one shard."""
    sql.execute(
        'CREATE TABLE IF NOT EXISTS places (match BIGINT, side INTEGER, start BIGINT, "end" BIGINT, digest BLOB)'
    )
    wanted = sql.cursor().execute(
        f"""
        SELECT row, id, match, side, "start", "end" FROM documents JOIN (
            SELECT rank, match, 0 AS side, "start", "end" FROM matches
            UNION ALL SELECT other, match, 1, other_start, other_start + "end" - "start" FROM matches
        ) USING (rank) WHERE file = {number} ORDER BY row, side, "start", match
        """
    )
    places: list[tuple[object, ...]] = []
    texts = _texts(path)
    for (row, id), group in groupby(_rows(wanted), key=itemgetter(0, 1)):
        here, found_id, text = next(t for t in texts if t[0] == row)
        if found_id != id:
            raise ValueError(f"{path} row {here + 1} is document {found_id!r}, its table of windows says {id!r}")
        places += _places(text, [(match, side, start, end) for _, _, match, side, start, end in group])
        if len(places) >= _FETCHED:
            _insert(sql, "places", places)
            places = []
    _insert(sql, "places", places)


def _texts(path: Path) -> Iterator[tuple[int, str, str]]:
    at = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_ROW_GROUP, columns=["id", "text"]):
            for id, text in zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True):
                yield at, id, text
                at += 1


def _places(text: str, wanted: Sequence[tuple[int, int, int, int]]) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Character spans and digests, white space left out, of the runs of tokens [start, end) of one text."""
    starts, ends, _ = tokenize(text)
    follows = {start for _, side, start, _ in wanted if side == 0}
    for match, side, start, end in wanted:
        first, last = int(starts[start]), int(ends[end - 1])
        digest = blake2b("".join(text[first:last].split()).encode(), digest_size=16).digest()
        gap = int(starts[end]) if end < len(starts) else len(text)
        before = text[int(ends[start - 1]) if start else 0 : first]
        behind = text[last:gap]
        # the white space that joins what is left: the larger break stays
        goes_along = end in follows or (behind.count("\n") <= before.count("\n") or not start)
        yield match, side, first, gap if side == 0 and goes_along else last, digest


def _resolve_spans(sql: duckdb.DuckDBPyConnection) -> int:
    """Create table `spans` of the matches whose two sides are equal in the real texts; return how many are not."""
    sql.execute(
        """
        CREATE TABLE spans AS
        SELECT d.id, a."start", a."end", 'substring' AS kind, '' AS replacement, o.id AS other, b."start" AS other_start
        FROM matches m
        JOIN documents d ON d.rank = m.rank
        JOIN documents o ON o.rank = m.other
        JOIN places a ON a.match = m.match AND a.side = 0
        JOIN places b ON b.match = m.match AND b.side = 1 AND b.digest = a.digest
        """
    )
    matches, spans = single_row(sql, "SELECT (SELECT count(*) FROM matches), (SELECT count(*) FROM spans)")
    return int(matches - spans)
