"""Boilerplate: lines or paragraphs that many documents share (menus, licence notices, list footers).

Three steps, so that a refresh repeats little: `line_shard` hashes the lines of one shard; `find_boilerplate` counts,
over all shards, in how many documents each line stands, and keeps the few that stand in too many; `boilerplate_spans`
looks these up in any shards and gives the spans that go. A new shard costs the first step for itself and one count over
hashes; the spans of an old shard change only if a line it holds crossed the threshold, which `boilerplate_in` tells.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_quality.config import BoilerplateConfig, LineTableConfig
from data_quality.dedupe.evidence import leftovers_among
from data_quality.dedupe.line_counters import LineCounters, Wanted, lines_at, occurring, row_groups
from data_quality.scripts import HAN, HANGUL, KANA
from data_quality.shards import BATCH_ROWS, read_batches, whole_parquet
from data_quality.spans import SPANS_SCHEMA
from data_quality.sql import ROW_GROUP, numbered_rows, open_database, parquet, single_row, write_rows

LINES_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("chars", pa.int64(), nullable=False),
        pa.field("hashes", pa.list_(pa.uint64()), nullable=False),
        pa.field("starts", pa.list_(pa.int64()), nullable=False),
        pa.field("ends", pa.list_(pa.int64()), nullable=False),
    ]
)
BOILERPLATE_SCHEMA = pa.schema(
    [
        pa.field("scope", pa.string(), nullable=False),  # the source, or "" for the whole corpus
        pa.field("hash", pa.uint64(), nullable=False),
        pa.field("documents", pa.int64(), nullable=False),
        pa.field("first_id", pa.string(), nullable=False),
        pa.field("first_start", pa.int64(), nullable=False),
        pa.field("first_end", pa.int64(), nullable=False),
    ]
)
TOO_LITTLE_LEFT = "lines.too_little_left"
_WIDE = re.compile(f"[{HAN}{KANA}{HANGUL}]")
_LETTER = re.compile(r"[^\W\d_]")
_DIGIT = re.compile(r"\d")


def iter_lines(text: str, unit: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, line) of every line or paragraph that is not blank.

    The span takes the line break along, that of a paragraph also the blank lines that follow, so that what is left
    reads as if it had never been there.
    """
    lines = text.split("\n")
    ends = [end + number for number, end in enumerate(accumulate(map(len, lines)), 1)]
    ends[-1] -= 1  # no line break follows the last line
    starts = [0, *ends[:-1]]
    bodies = [line.strip() for line in lines]
    if unit == "line":
        yield from ((start, end, body) for start, end, body in zip(starts, ends, bodies, strict=True) if body)
        return
    firsts = [at for at, body in enumerate(bodies) if body and (at == 0 or not bodies[at - 1])]
    for first, following in pairwise([*firsts, len(lines)]):
        start, end = starts[first], ends[following - 1]
        yield start, end, text[start:end].strip()


def line_hash(line: str, config: LineTableConfig) -> int:
    """BLAKE2b-64 of a stripped line in the form in which lines are compared."""
    if config.ignore_case:
        line = line.lower()
    if config.ignore_digits:
        line = _DIGIT.sub("0", line)
    if config.ignore_white_space:
        line = " ".join(line.split())
    return int.from_bytes(hashlib.blake2b(line.encode(), digest_size=8).digest(), "big")


def long_enough(line: str, config: LineTableConfig) -> bool:
    """Whether a stripped line may be boilerplate at all; a wide character counts two letters."""
    if _at_least(config.min_letters).match(line):
        return True
    return not line.isascii() and len(_LETTER.findall(line)) + len(_WIDE.findall(line)) >= config.min_letters


@cache
def _at_least(letters: int) -> re.Pattern[str]:
    """Matches a text with so many letters, reading no further than these."""
    return re.compile(rf"(?:[\W\d_]*+[^\W\d_]){{{letters}}}")


def line_shard(in_path: Path, out_path: Path, config: LineTableConfig) -> dict[str, int]:
    """Write the hashes and the places of the lines of one documents shard, a row a document, in its order.

    Memory: one row group. The table takes about as many bytes as the text has lines times 20.

    Returns:
        Counts: documents, bytes (UTF-8 text), lines (long enough to be boilerplate).
    """
    counts = {"documents": 0, "bytes": 0, "lines": 0}
    with whole_parquet(out_path, LINES_SCHEMA) as writer:
        for batch in read_batches(in_path, ["id", "source", "text"]):
            texts = batch["text"].to_pylist()
            found = [
                [
                    (line_hash(line, config), a, b)
                    for a, b, line in iter_lines(text, config.unit)
                    if long_enough(line, config)
                ]
                for text in texts
            ]
            table = {
                "id": batch["id"],
                "source": batch["source"],
                "chars": [len(text) for text in texts],
                "hashes": [[line[0] for line in lines] for lines in found],
                "starts": [[line[1] for line in lines] for lines in found],
                "ends": [[line[2] for line in lines] for lines in found],
            }
            writer.write_table(pa.table(table, schema=LINES_SCHEMA), row_group_size=BATCH_ROWS)
            counts["documents"] += len(texts)
            counts["bytes"] += sum(len(text.encode()) for text in texts)
            counts["lines"] += sum(map(len, found))
    return counts


def find_boilerplate(
    line_paths: Sequence[Path],
    out_path: Path,
    config: BoilerplateConfig,
    *,
    duplicate_paths: Sequence[Path] = (),
    temp_directory: Path,
    memory_limit: str = "1GiB",
    threads: int = 1,
) -> dict[str, int]:
    """Write `out_path` (BOILERPLATE_SCHEMA, by scope and hash): the lines of which there are too many.

    A document counts once for each line, however often it repeats it. Lines are equal if their 64-bit hashes are: at
    10^9 different lines the chance of one false match in the whole corpus is 3 %.

    Args:
        line_paths: what `line_shard` wrote, of all shards, with `config.table`.
        duplicate_paths: tables of DUPLICATES_SCHEMA. Documents dropped there are not counted: a hundred copies of one
            page would make each of its lines boilerplate, and nothing would be left of the copy that stays.

    Returns:
        Counts: documents (counted), lines, boilerplate (different lines).
    """
    scope = "source" if config.scope == "source" else "''"
    share = (
        f"least({config.min_documents}, greatest({config.min_share_documents}, ceil({config.min_share!r} * count(*))))"
        if config.min_share is not None
        else config.min_documents
    )
    with open_database(temp_directory, memory_limit, threads) as (sql, _):
        sql.execute("CREATE TABLE gone (id VARCHAR)")
        if duplicate_paths:
            sql.execute(f"INSERT INTO gone SELECT dropped FROM {parquet(duplicate_paths)}")
        sql.execute(
            f"""
            CREATE TABLE enough AS SELECT scope, count(*) AS documents, {share} AS enough
            FROM (SELECT id, {scope} AS scope FROM {parquet(line_paths)}) ANTI JOIN gone USING (id) GROUP BY scope
            """
        )
        enough = sql.execute("SELECT scope, documents, enough::BIGINT FROM enough").fetchall()
        counters = LineCounters(line_paths, _counted(sql, line_paths), by_source=config.scope == "source")
        sql.register("candidates", counters.candidates({scope: least for scope, _, least in enough}))
        sql.execute(
            f"""
            CREATE TABLE often AS
            WITH counted AS (
                SELECT {scope} AS scope, hash, sum(documents)::BIGINT AS documents, min(id) AS first_id,
                       arg_min("start", id) AS first_start, arg_min("end", id) AS first_end
                FROM candidates GROUP BY ALL
            )
            SELECT counted.* FROM counted JOIN enough USING (scope) WHERE counted.documents >= enough
            """
        )
        write_rows(sql.sql("FROM often ORDER BY scope, hash"), BOILERPLATE_SCHEMA, Path(out_path))
        [boilerplate] = single_row(sql, "SELECT count(*) FROM often")
    documents = sum(counted for _, counted, _ in enough)
    return {"documents": documents, "lines": counters.lines, "boilerplate": boilerplate}


def _counted(sql: duckdb.DuckDBPyConnection, line_paths: Sequence[Path]) -> list[npt.NDArray[np.bool_]]:
    """For each table which of its documents are not in `gone`."""
    starts = np.cumsum([0, *(pq.read_metadata(path).num_rows for path in line_paths)])
    counted = np.ones(starts[-1], dtype=bool)
    gone = sql.execute(f"SELECT file_index, file_row_number FROM {numbered_rows(line_paths)} SEMI JOIN gone USING (id)")
    found = gone.fetchnumpy()
    counted[starts[np.asarray(found["file_index"], dtype=np.int64)] + np.asarray(found["file_row_number"])] = False
    return np.split(counted, starts[1:-1])


def boilerplate_in(line_paths: Sequence[Path], boilerplate_path: Path, config: BoilerplateConfig) -> Iterator[bytes]:
    """For each table of lines the boilerplate that may stand in it: a Parquet file, equal where that is equal.

    It has what `boilerplate_spans` looks at, not the number of documents, which changes with every one that is new.
    Memory: one row group of a table of lines.
    """
    often = pq.read_table(boilerplate_path, columns=["scope", "hash", "first_id", "first_start"])
    hashes = often["hash"].to_numpy()
    wanted = Wanted(hashes)
    for path in line_paths:
        here, sources = occurring(path, wanted)
        rows = np.isin(hashes, here)
        if config.scope == "source":
            rows &= pc.is_in(often["scope"], pa.array(sources, pa.string())).to_numpy()
        sink = pa.BufferOutputStream()
        pq.write_table(often.filter(pa.array(rows)).combine_chunks(), sink, compression="zstd")
        yield bytes(sink.getvalue())


def boilerplate_spans(
    line_paths: Sequence[Path],
    boilerplate_path: Path,
    spans_path: Path,
    leftovers_path: Path,
    config: BoilerplateConfig,
) -> dict[str, int]:
    """Write the spans that are boilerplate, and the documents of which too little is left.

    Spans (SPANS_SCHEMA by id and start) have kind "line" or "paragraph"; other and other_start say where the line
    stands in the document with the lowest id that holds it, null if it is this very place.

    Memory: one row group of a table of lines, and what is found.

    Args:
        line_paths: what `line_shard` wrote, of one shard or of several: no span depends on another shard.

    Returns:
        Counts: documents, characters, spans, edited (documents), removed (characters), too_little_left.
    """
    often = pq.read_table(boilerplate_path, columns=["scope", "hash", "first_id", "first_start"])
    wanted = Wanted(often["hash"].to_numpy())
    documents = characters = 0
    found = []
    for path in line_paths:
        for rows in row_groups(path, ["id", "source", "chars", "hashes", "starts", "ends"]):
            documents += rows.num_rows
            characters += pc.sum(rows["chars"]).as_py() or 0
            lines = lines_at(rows, wanted.places_in(pc.list_flatten(rows["hashes"]).to_numpy()))
            scope = lines["source"] if config.scope == "source" else pa.array([""] * len(lines), pa.string())
            lines = lines.append_column("scope", scope)
            found.append(lines.join(often, ["scope", "hash"], join_type="inner", use_threads=False))
    spans = pa.concat_tables(found)
    here = pc.and_(pc.equal(spans["id"], spans["first_id"]), pc.equal(spans["start"], spans["first_start"]))
    spans = spans.append_column("here", here)
    if config.keep_first:
        spans = spans.filter(pc.invert(here))
    spans = spans.sort_by([("id", "ascending"), ("start", "ascending")]).combine_chunks()
    left, counts = _leftovers(spans, config)
    for path, table in ((spans_path, _as_spans(spans, config.table.unit)), (leftovers_path, left)):
        with whole_parquet(path, table.schema) as writer:
            if len(table):
                writer.write_table(table, row_group_size=ROW_GROUP)
    return {"documents": documents, "characters": characters, "spans": spans.num_rows, **counts}


def _as_spans(places: pa.Table, unit: str) -> pa.Table:
    elsewhere = pc.invert(places["here"])
    columns = {
        "id": places["id"],
        "start": places["start"],
        "end": places["end"],
        "kind": [unit] * places.num_rows,
        "replacement": [""] * places.num_rows,
        "other": pc.if_else(elsewhere, places["first_id"], None),
        "other_start": pc.if_else(elsewhere, places["first_start"], None),
    }
    return pa.table([columns[name] for name in SPANS_SCHEMA.names], schema=SPANS_SCHEMA)


def _leftovers(places: pa.Table, config: BoilerplateConfig) -> tuple[pa.Table, dict[str, int]]:
    """The documents (LEFTOVERS_SCHEMA) that lost lines, which do not overlap, and have too little left."""
    lengths = pc.subtract(places["end"], places["start"])
    edited = places.append_column("length", lengths).group_by("id").aggregate([("chars", "max"), ("length", "sum")])
    table = leftovers_among(
        edited.rename_columns(["id", "characters", "gone"]),
        TOO_LITTLE_LEFT,
        min_characters=config.min_left_characters,
        min_share=config.min_left_share,
    )
    counts = {"edited": len(edited), "removed": pc.sum(lengths).as_py() or 0, "too_little_left": len(table)}
    return table, counts
