"""The mixture: how often each kept document is drawn for training.

A document's expected number of copies is the rate of its group (source or language) times the weight of its family of
duplicates. It is drawn the whole part of that times, and once more if a hash of its id and the seed falls below the
rest. So the draw needs no order and no state, and a greater weight only adds copies: without a budget no other document
changes; within a budget of documents or bytes the others of all other groups can only lose some.

A budget of tokens is met, not only on average: it is shared out among the groups in whole tokens, and the documents of
a group stand in the order of hash / rest and get their last copy in this order, each that still fits into its group's
share: sequential Poisson sampling (Ohlsson, Journal of Official Statistics 14, 1998), which differs from the draw
above, where hash / rest is below 1, by its bound. So which documents fit depends on the others of the group: with a
greater weight, or a smaller share, single documents may be drawn less, or more, often than before.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from data_quality.config import MixtureConfig
from data_quality.errors import UsageError
from data_quality.hashing import unit_hash
from data_quality.signal_catalogue import nearest
from data_quality.sql import check_unique, open_database, parquet, write_rows

COPIES_SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("copies", pa.int32(), nullable=False)])
_FETCHED = 50_000


@dataclass(frozen=True, slots=True)
class Group:
    """One source or language: what there is, and how often it is drawn.

    Attributes:
        documents: what there is to draw from: kept documents or, with a split, those of them that train.
        size: of these, in the config's unit.
        family_size: the same with each document times the weight of its family.
    """

    name: str
    documents: int
    size: int
    family_size: float


def draw_mixture(
    document_paths: Sequence[Path],
    out_path: Path,
    config: MixtureConfig,
    *,
    duplicate_paths: Sequence[Path] = (),
    token_paths: Sequence[Path] = (),
    split_path: Path | None = None,
    temp_directory: Path,
    memory_limit: str = "1GiB",
    threads: int = 1,
    progress: Callable[[int], None] = lambda n: None,
) -> list[dict[str, Any]]:
    """Write `out_path`, COPIES_SCHEMA by id: how often each document is drawn, 0 included.

    With unit "tokens" and a budget the groups share it out in whole tokens. No group draws more than its share, and
    what it lacks is less than the size of any document that could have been drawn once more.

    Args:
        document_paths: shards of the kept documents.
        duplicate_paths: tables of DUPLICATES_SCHEMA, for the sizes of families; a document that is not named as kept
            stands for itself. If several tables name it, its family is all that were dropped for it.
        token_paths: Parquet with id and tokens for every document; needed for unit "tokens" only.
        split_path: table of SPLIT_SCHEMA; only its training documents are there to be drawn, and a group that has none
            is drawn 0 times. None: all documents.
        temp_directory: existing directory of this call alone, for what does not fit into memory.
        progress: told of documents drawn.

    Returns:
        One dict a group, by name: group, documents, size, rate, wanted (size to draw: on average, or of tokens with a
        budget the most, before it is rounded to a whole one), drawn_documents (copies), drawn (size), epochs
        (drawn / size).

    Raises:
        ValueError: a weight for a group that does not exist, unit "tokens" without a token count for each document,
            an id twice.
    """
    with open_database(temp_directory, memory_limit, threads) as (sql, _):
        _measure(sql, document_paths, config, duplicate_paths, token_paths, split_path)
        groups = _groups(sql, document_paths, config)
        rates = group_rates(groups, config)
        _draw(sql, groups, rates, config, progress)
        write_rows(sql.sql("SELECT id, copies FROM drawn ORDER BY id"), COPIES_SCHEMA, Path(out_path))
        found = sql.execute('SELECT "group", sum(copies)::BIGINT, sum(copies * size)::BIGINT FROM drawn GROUP BY ALL')
        drawn = {name: (copies, size) for name, copies, size in found.fetchall()}
    return [_figures(group, rates[group.name], *drawn.get(group.name, (0, 0))) for group in groups]


def check_weights(config: MixtureConfig, groups: Collection[str]) -> None:
    """Raises UsageError for a weight of a group that is none of these, those of the kept documents."""
    for name in config.weights:
        if name not in groups:
            raise UsageError(
                f"mixture.weights names the {config.by} {name!r}, which no kept document has{nearest(name, groups)}"
            )


def copies_of(id: str, expected: float, seed: int) -> int:
    """How often one document is drawn; on average `expected` times, and never less often for a greater `expected`."""
    whole = math.floor(expected)
    return whole + (unit_hash(f"{seed}:{id}") < expected - whole)


def family_weight(size: int, config: MixtureConfig) -> float:
    """The weight of a document that stands for a family of `size` documents."""
    return [step.weight for step in config.family_weights if step.min_size <= size][-1]


def group_rates(groups: Sequence[Group], config: MixtureConfig) -> dict[str, float]:
    """By what each group's documents are multiplied, before the weights of families.

    rate = scale * weight * (size / largest size)^(1/T - 1), and at most what makes `max_epochs` of the group; so what
    is drawn is in proportion to weight * size^(1/T) (Devlin's and Conneau's exponential smoothing, arXiv 1911.02116,
    section 3.1, with alpha = 1/T). The scale is 1 without a budget, else the one that reaches it.
    """
    sizes = {group.name: group.size for group in groups if group.size}
    largest = max(sizes.values(), default=1)
    raw = {
        name: config.weights.get(name, 1.0) * (size / largest) ** (1 / config.temperature - 1)
        for name, size in sizes.items()
    }
    by_family = {group.name: group.family_size for group in groups}
    most = {name: config.max_epochs * size / by_family[name] for name, size in sizes.items() if by_family[name]}
    raw = {name: rate for name, rate in raw.items() if rate and name in most}
    scale = 1.0 if config.budget is None else _scale(raw, most, by_family, config.budget)
    return {
        group.name: min(scale * raw[group.name], most[group.name]) if group.name in raw else 0.0 for group in groups
    }


def _scale(raw: Mapping[str, float], most: Mapping[str, float], by_family: Mapping[str, float], budget: float) -> float:
    """The factor at which the groups, each at most at its limit, add up to the budget: groups reach limits in turn."""
    full = 0.0
    open_groups = sorted(raw, key=lambda name: (most[name] / raw[name], name))
    for number, name in enumerate(open_groups):
        slope = math.fsum(raw[other] * by_family[other] for other in open_groups[number:])
        if full + slope * most[name] / raw[name] >= budget:
            return (budget - full) / slope
        full += most[name] * by_family[name]
    return math.inf


def _measure(
    sql: duckdb.DuckDBPyConnection,
    document_paths: Sequence[Path],
    config: MixtureConfig,
    duplicate_paths: Sequence[Path],
    token_paths: Sequence[Path],
    split_path: Path | None,
) -> None:
    """Create table `documents` (id, group, size, families: documents in its family)."""
    if config.unit == "tokens" and not token_paths:
        raise ValueError("unit is tokens, but no table of tokens was given: count them first, or take bytes")
    size = {"documents": "1", "bytes": "strlen(text)", "tokens": "tokens"}[config.unit]
    counted = f"LEFT JOIN {parquet(token_paths)} t USING (id)" if config.unit == "tokens" else ""
    families = "SELECT '' AS kept, 0 AS gone WHERE false"
    if duplicate_paths:
        families = f"SELECT kept, count(DISTINCT dropped) AS gone FROM {parquet(duplicate_paths)} GROUP BY kept"
    training = ""
    if split_path is not None:
        training = f"SEMI JOIN (FROM {parquet([split_path])} WHERE split = 'train') s ON s.id = d.id"
    sql.execute(
        f"""
        CREATE TABLE documents AS
        SELECT d.id, coalesce(d.{config.by}, 'unknown') AS "group", ({size})::BIGINT AS size,
               (1 + coalesce(gone, 0))::BIGINT AS families
        FROM {parquet(document_paths)} d {training} {counted} LEFT JOIN ({families}) ON kept = d.id
        """
    )
    [(uncounted, example)] = sql.execute("SELECT count(*), min(id) FROM documents WHERE size IS NULL").fetchall()
    if uncounted:
        raise ValueError(f"{uncounted} documents have no token count, {example!r} among them: count all documents")
    check_unique(sql, "documents")


def _draw(
    sql: duckdb.DuckDBPyConnection,
    groups: Sequence[Group],
    rates: Mapping[str, float],
    config: MixtureConfig,
    progress: Callable[[int], None],
) -> None:
    """Create table `drawn` (id, group, size, copies) of table `documents`."""
    met = config.unit == "tokens" and config.budget is not None
    sql.execute('CREATE TABLE drawn (id VARCHAR, "group" VARCHAR, size BIGINT, copies INTEGER, place DOUBLE)')
    rows = sql.cursor().execute('SELECT id, "group", size, families FROM documents ORDER BY id')
    while found := rows.fetchmany(_FETCHED):
        ids, names, sizes, families = (list(column) for column in zip(*found, strict=True))
        expected = [rates[name] * family_weight(of, config) for name, of in zip(names, families, strict=True)]
        pairs = list(zip(ids, expected, strict=True))
        copies = [math.floor(each) if met else copies_of(id, each, config.seed) for id, each in pairs]
        places = [_place(id, each, config.seed) if met else None for id, each in pairs]
        columns = {"id": ids, "group": names, "size": sizes, "copies": copies, "place": pa.array(places, pa.float64())}
        sql.register("incoming", pa.table(columns))
        sql.execute("INSERT INTO drawn FROM incoming")
        sql.unregister("incoming")
        progress(len(found))
    if met:
        assert config.budget is not None
        wanted = {group.name: rates[group.name] * group.family_size for group in groups}
        _meet(sql, whole_shares(wanted, config.budget))


def whole_shares(wanted: Mapping[str, float], budget: float) -> dict[str, int]:
    """What each group wants in whole tokens: rounded down, and what is then left of the sum goes, one each, to those
    with the largest fractions. Together at most the budget."""
    shares = {name: math.floor(size) for name, size in wanted.items()}
    # a millionth: a sum of floating-point numbers may fall just short of the whole number that it is
    total = min(math.floor(budget), math.floor(math.fsum(wanted.values()) + 1e-6))
    by_fraction = sorted(wanted, key=lambda name: (shares[name] - wanted[name], name))
    for name in by_fraction[: max(total - sum(shares.values()), 0)]:
        shares[name] += 1
    return shares


def _place(id: str, expected: float, seed: int) -> float | None:
    """Where a document stands among those of its group that may get one copy more; None if it may not."""
    rest = expected - math.floor(expected)
    return unit_hash(f"{seed}:{id}") / rest if rest else None


def _meet(sql: duckdb.DuckDBPyConnection, wanted: Mapping[str, int]) -> None:
    """Give documents of table `drawn`, in the order of their places, one copy more where it fits into their group."""
    left = dict(wanted)
    for name, sure in sql.execute('SELECT "group", sum(copies * size)::BIGINT FROM drawn GROUP BY ALL').fetchall():
        left[name] -= sure
    sql.execute("CREATE TABLE more (id VARCHAR)")
    rows = sql.cursor().execute(
        'SELECT id, "group", size, place FROM drawn WHERE place IS NOT NULL ORDER BY "group", place, id'
    )
    while found := rows.fetchmany(_FETCHED):
        ids = []
        for id, name, size, place in found:
            if size <= left[name] if size else place < 1:  # what has no tokens is drawn by its hash alone
                ids.append(id)
                left[name] -= size
        sql.register("incoming", pa.table({"id": pa.array(ids, pa.string())}))
        sql.execute("INSERT INTO more FROM incoming")
        sql.unregister("incoming")
    sql.execute("UPDATE drawn SET copies = copies + 1 FROM more WHERE drawn.id = more.id")


def _groups(sql: duckdb.DuckDBPyConnection, document_paths: Sequence[Path], config: MixtureConfig) -> list[Group]:
    """Every group of the kept documents, though none of its own may be in table `documents`."""
    rows = sql.execute(
        'SELECT "group", families, count(*), sum(size)::BIGINT FROM documents GROUP BY ALL ORDER BY ALL'
    ).fetchall()
    found = sql.execute(f"SELECT DISTINCT coalesce({config.by}, 'unknown') FROM {parquet(document_paths)}").fetchall()
    names = sorted(name for (name,) in found)
    check_weights(config, names)
    groups = []
    for name in names:
        own = [row for row in rows if row[0] == name]
        weighted = math.fsum(family_weight(families, config) * size for _, families, _, size in own)
        groups.append(Group(name, sum(row[2] for row in own), sum(row[3] for row in own), weighted))
    return groups


def _figures(group: Group, rate: float, drawn_documents: int, drawn: int) -> dict[str, Any]:
    return {
        "group": group.name,
        "documents": group.documents,
        "size": group.size,
        "rate": rate,
        "wanted": rate * group.family_size,
        "drawn_documents": drawn_documents,
        "drawn": drawn,
        "epochs": drawn / group.size if group.size else 0.0,
    }
