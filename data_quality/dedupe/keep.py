"""Which document of a family is wanted most: the keep policy, the rules' verdicts and the keep-list, as SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_quality.config import KeepConfig
from data_quality.dedupe.exact import GREEDY, PINNED, Workspace
from data_quality.sql import parquet, single_row, sql_list

_COMPACT = r"'^(\d{4})(\d{2})(\d{2})(T|$)'"


@dataclass(frozen=True)
class KeepTables:
    """Tables beside the text that a policy looks at, all keyed by document id.

    Attributes:
        verdicts: id and first_reason (null: passes) of every document; one that fails is never kept in favour of one
            that passes.
        dropped: tables of DUPLICATES_SCHEMA: documents that an earlier step drops fail, too.
        scores: id and the column `score_column`, for policy best_score.
        documents: documents shards (id, metadata), for policy oldest.
        pinned: id of documents that must stay, whatever their twins or verdicts; unknown ids are ignored.
    """

    verdicts: Sequence[Path] = ()
    dropped: Sequence[Path] = ()
    scores: Sequence[Path] = ()
    documents: Sequence[Path] = ()
    pinned: Sequence[Path] = ()


@dataclass(frozen=True)
class Ranking:
    """SQL over a signature shard (alias s) and `join`: the order of documents, their role, what both depend on."""

    order: str
    role: str
    join: str
    material: tuple[str, ...]


def ranking(workspace: Workspace, keep: KeepConfig, tables: KeepTables) -> Ranking:
    """Load what the policy needs into the workspace's database.

    Raises:
        ValueError: a table is missing or holds an id twice, or a document has no verdict.
    """
    order, joins, material = preference(keep), [], ["s.text_hash", "s.source"]
    if tables.verdicts:
        gone = f"SELECT dropped FROM {parquet(tables.dropped)}" if tables.dropped else "SELECT '' WHERE false"
        _load(workspace, "verdicts", tables.verdicts, f"first_reason IS NOT NULL OR id IN ({gone}) AS fails")
        _all_judged(workspace)
        joins.append("LEFT JOIN verdicts ON verdicts.id = s.id")
        order = f"verdicts.fails, {order}"
        material.append("verdicts.fails")
    if keep.policy == "best_score":
        if not tables.scores:
            raise ValueError("policy best_score needs a score table: give one with id and " + keep.score_column)
        score = f'TRY_CAST("{keep.score_column}" AS DOUBLE)'
        _load(workspace, "scores", tables.scores, f"CASE WHEN NOT isnan({score}) THEN {score} END AS score")
        joins.append("LEFT JOIN scores ON scores.id = s.id")
        material.append("scores.score")
    if keep.policy == "oldest":
        if not tables.documents:
            raise ValueError("policy oldest needs the documents shards, whose metadata holds the date")
        _load(workspace, "dates", tables.documents, f"{_date(keep.date_field)} AS date")
        joins.append("LEFT JOIN dates ON dates.id = s.id")
        material.append("epoch_us(dates.date)")
    role = str(GREEDY)
    if tables.pinned:
        paths = sql_list([str(path) for path in tables.pinned])
        workspace.sql.execute(f"CREATE TABLE pinned AS SELECT DISTINCT id FROM read_parquet({paths})")
        joins.append("LEFT JOIN pinned ON pinned.id = s.id")
        order = f"pinned.id IS NULL, {order}"
        role = f"if(pinned.id IS NULL, {GREEDY}, {PINNED})"
        material.append("pinned.id")
    return Ranking(order, role, " ".join(joins), tuple(material))


def preference(keep: KeepConfig) -> str:
    """The SQL order of documents from most to least wanted."""
    position = f"coalesce(list_position({sql_list(keep.source_priority)}, s.source), 1000000000)"
    return {
        "longest": "chars DESC, s.id",
        "shortest": "chars, s.id",
        "best_score": "scores.score DESC NULLS LAST, chars DESC, s.id",
        "oldest": "dates.date ASC NULLS LAST, chars DESC, s.id",
        "source_priority": f"{position}, chars DESC, s.id",
        "first_id": "s.id",
    }[keep.policy]


def _date(field: str) -> str:
    """A metadata field as a time: ISO 8601, also a year, a year and month, or 20240131; else null."""
    text = f"""regexp_replace(json_extract_string(metadata, '$."{field}"'), {_COMPACT}, '\\1-\\2-\\3\\4')"""
    whole = f"""CASE WHEN regexp_full_match({text}, '\\d{{4}}') THEN {text} || '-01-01'
        WHEN regexp_full_match({text}, '\\d{{4}}-\\d{{2}}') THEN {text} || '-01'
        WHEN regexp_matches({text}, '^\\d{{4}}-\\d{{2}}-\\d{{2}}') THEN {text} END"""
    return f"TRY_CAST({whole} AS TIMESTAMPTZ)"


def _load(workspace: Workspace, name: str, paths: Sequence[Path], column: str) -> None:
    files = sql_list([str(path) for path in paths])
    workspace.sql.execute(f"CREATE TABLE {name} AS SELECT id, {column} FROM read_parquet({files})")
    rows, ids = single_row(workspace.sql, f"SELECT count(*), count(DISTINCT id) FROM {name}")
    if rows != ids:
        raise ValueError(f"the table of {name} ({paths[0]}) has {rows} rows for {ids} ids: one row per document")


def _all_judged(workspace: Workspace) -> None:
    signatures = f"read_parquet({sql_list([str(path) for path in workspace.signatures])})"
    first, unjudged = single_row(
        workspace.sql, f"SELECT min(id), count(*) FROM (SELECT id FROM {signatures}) ANTI JOIN verdicts USING (id)"
    )
    if unjudged:
        raise ValueError(f"{unjudged} documents have no verdict, {first!r} among them: judge all documents")
