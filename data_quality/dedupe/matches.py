"""Matches: runs of tokens that equal a run elsewhere; joined from hits, and found again in the real texts."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.dedupe.windows import SINGLE, token_kinds, tokenize

_FETCHED = 50_000


@dataclass(frozen=True, slots=True)
class Match:
    """Tokens [start, end) of the document `rank` equal those of `other` from `other_start` on."""

    rank: int
    start: int
    end: int
    other: int
    other_start: int


def join_hits(sql: duckdb.DuckDBPyConnection, tokens: int) -> None:
    """Create tables `runs` (rank, start, last, first), `matches` (match, rank, start, end, other, other_start) and
    `matched` (rank, matches: their number); positions are tokens.

    Hits in a row whose first copies are in a row too are a run; of a document's runs `cover` leaves the fewest.
    """
    sql.execute(
        """
        CREATE TABLE runs AS
        SELECT rank, min(place) AS "start", max(place) AS last, min(first) AS first FROM (
            SELECT rank, place, first, first::HUGEINT - place AS apart,
                   place - row_number() OVER (PARTITION BY rank, first::HUGEINT - place ORDER BY place) AS island
            FROM hits
        ) GROUP BY rank, apart, island
        """
    )
    sql.execute(
        'CREATE TABLE matches (match BIGINT, rank BIGINT, "start" BIGINT, "end" BIGINT, other BIGINT, '
        "other_start BIGINT)"
    )
    runs = sql.cursor().execute(
        f'SELECT rank, "start", last + {tokens}, (first >> 32)::BIGINT, (first & 4294967295)::BIGINT '
        'FROM runs ORDER BY rank, "start", last'
    )
    number = 0
    waiting: list[tuple[int, ...]] = []
    for _, of_document in groupby(_rows(runs), key=itemgetter(0)):
        for match in cover(Match(*row) for row in of_document):
            waiting.append((number, match.rank, match.start, match.end, match.other, match.other_start))
            number += 1
        waiting = _flush(sql, "matches", waiting)
    _flush(sql, "matches", waiting, at_least=1)
    sql.execute("CREATE TABLE matched AS SELECT rank, count(*) AS matches FROM matches GROUP BY rank")


def cover(matches: Iterable[Match]) -> Iterator[Match]:
    """The fewest of a document's matches, ascending by start, that cover the same tokens; they may overlap.

    Greedy: of the matches that begin within what is covered, the one that reaches farthest.
    """
    reached = -1
    best: Match | None = None
    for match in matches:
        if best is not None and match.start > reached:
            yield best
            reached, best = best.end, None
        if best is None and match.start > reached:
            reached, best = match.start, match
        elif match.end > (best.end if best is not None else reached):
            best = match
    if best is not None:
        yield best


def find_cuts(sql: duckdb.DuckDBPyConnection, document_paths: Sequence[Path], tokens: int) -> None:
    """Create table `spans` of the matches whose two sides are equal in the real texts.

    The sides are compared by BLAKE2b-128 of their characters without white space.
    """
    sql.execute(
        'CREATE TABLE cuts (match BIGINT, first BIGINT, last BIGINT, "start" BIGINT, "end" BIGINT, digest BLOB)'
    )
    sql.execute('CREATE TABLE others (match BIGINT, "start" BIGINT, digest BLOB)')
    for number, path in enumerate(document_paths):
        wanted = (
            'SELECT text_row, match, m."start", m."end" FROM documents JOIN matches m USING (rank) '
            f"WHERE text_file = {number}"
        )
        waiting: list[tuple[Any, ...]] = []
        for text, runs in _texts_of(sql, wanted, path):
            waiting += _cuts(text, runs, (tokens - 1) // 2)
            waiting = _flush(sql, "cuts", waiting)
        _flush(sql, "cuts", waiting, at_least=1)
    for number, path in enumerate(document_paths):
        wanted = (
            'SELECT text_row, match, other_start + c.first - m."start", other_start + c.last - m."start" '
            f"FROM matches m JOIN cuts c USING (match) JOIN documents d ON d.rank = m.other WHERE text_file = {number}"
        )
        waiting = []
        for text, runs in _texts_of(sql, wanted, path):
            starts, ends, _ = tokenize(text)
            waiting += [(match, int(starts[a]), _digest(text[starts[a] : ends[b - 1]])) for match, a, b in runs]
            waiting = _flush(sql, "others", waiting)
        _flush(sql, "others", waiting, at_least=1)
    sql.execute(
        """
        CREATE TABLE spans AS
        SELECT d.id, c."start", c."end", 'substring' AS kind, '' AS replacement, o.id AS other, s."start" AS other_start
        FROM matches m
        JOIN cuts c USING (match)
        JOIN others s ON s.match = m.match AND s.digest = c.digest
        JOIN documents d ON d.rank = m.rank
        JOIN documents o ON o.rank = m.other
        """
    )


def _cuts(text: str, runs: Sequence[tuple[int, int, int]], give_way: int) -> Iterator[tuple[Any, ...]]:
    """(match, first, last, start, end, digest) of each run of tokens of one text, ascending: where it is cut.

    What the runs cover together is cut at white space or beside a character of a script without spaces, up to
    `give_way` tokens inside, so that no word, address or number loses a part; where there is no such place, as it is.
    The white space behind goes along unless it is the larger break of the two that meet.
    """
    starts, ends, _ = tokenize(text)
    runs_at = {first for _, first, _ in runs}
    for region in _regions(runs):
        left, right = region[0][1], max(last for _, _, last in region)
        first = next((at for at in range(left, left + give_way + 1) if _parts(text, starts, ends, at)), left)
        last = next((at for at in range(right, right - give_way - 1, -1) if _parts(text, starts, ends, at)), right)
        for match, a, b in region:
            a, b = max(a, first), min(b, last)
            start, end = int(starts[a]), int(ends[b - 1])
            gap = int(starts[b]) if b < len(starts) else len(text)
            smaller = a == 0 or text.count("\n", end, gap) <= text.count("\n", int(ends[a - 1]), start)
            along = b in runs_at or (b == last and smaller)
            yield match, a, b, start, gap if along else end, _digest(text[start:end])


def _regions(runs: Sequence[tuple[int, int, int]]) -> Iterator[list[tuple[int, int, int]]]:
    """Runs (match, first, last), ascending, that overlap or touch, together."""
    region: list[tuple[int, int, int]] = []
    reached = -1
    for run in runs:
        if region and run[1] > reached:
            yield region
            region = []
        region.append(run)
        reached = max(reached, run[2])
    if region:
        yield region


def _parts(text: str, starts: npt.NDArray[np.int32], ends: npt.NDArray[np.int32], at: int) -> bool:
    """Whether a text may be cut before its token `at`."""
    if at in (0, len(starts)) or starts[at] > ends[at - 1]:
        return True
    kinds = token_kinds()
    return bool(kinds[ord(text[starts[at]])] == SINGLE or kinds[ord(text[starts[at - 1]])] == SINGLE)


def _digest(text: str) -> bytes:
    return blake2b("".join(text.split()).encode(), digest_size=16).digest()


def _texts_of(
    sql: duckdb.DuckDBPyConnection, wanted: str, path: Path
) -> Iterator[tuple[str, list[tuple[int, int, int]]]]:
    """The texts of one shard that a query (row, match, first, last) asks for, each with its runs of tokens."""
    found = sql.cursor().execute(f"{wanted} ORDER BY 1, 3, 4, 2")
    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        ends = list(accumulate(sizes))
        read = -1  # the row group in `texts`; one without a wanted row is never read
        texts = pa.table({})
        for row, matches in groupby(_rows(found), key=itemgetter(0)):
            group = bisect_right(ends, row)
            if group != read:
                read, texts = group, file.read_row_group(group, columns=["text"], use_threads=False)
            at = row - ends[group] + sizes[group]
            yield texts["text"][at].as_py(), [(match, first, last) for _, match, first, last in matches]


def _rows(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := cursor.fetchmany(_FETCHED):
        yield from rows


def _flush(
    sql: duckdb.DuckDBPyConnection, table: str, rows: list[tuple[Any, ...]], at_least: int = _FETCHED
) -> list[tuple[Any, ...]]:
    """Insert `rows` once there are enough of them; what then still waits."""
    if len(rows) < at_least:
        return rows
    columns = {f"column_{number}": values for number, values in enumerate(zip(*rows, strict=True))}
    sql.register("incoming", pa.table(columns))
    sql.execute(f"INSERT INTO {table} FROM incoming")
    sql.unregister("incoming")
    return []
