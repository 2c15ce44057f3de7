"""Lists of documents that stay or go whatever the rules say, as DuckDB conditions on a table with `id` and `source`."""

from typing import TYPE_CHECKING

from data_quality.config import DocumentList
from data_quality.config.lists import WILD
from data_quality.sql import literal

if TYPE_CHECKING:
    import duckdb

KEEP, DROP = "list.keep", "list.drop"
_COLUMNS = ("reason", "field", "entry")


class DocumentLists:
    """A keep-list and a drop-list on a connection. A document that both name stays."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection", keep: DocumentList, drop: DocumentList) -> None:
        """Register the lists as the view `listed`; `keep` and `drop` without files (`DocumentList.resolved`)."""
        self._connection = connection
        import pyarrow as pa  # a configuration is checked against the rules in a fraction of its import time

        rows = [
            (reason, column, entry)
            for reason, listed in ((KEEP, keep), (DROP, drop))
            for column, entries in (("id", listed.ids), ("source", listed.sources))
            for entry in entries
        ]
        self._patterns = [row for row in rows if any(wild in row[2] for wild in WILD)]
        exact = [row for row in rows if not any(wild in row[2] for wild in WILD)]
        columns = {name: pa.array([row[at] for row in exact], pa.string()) for at, name in enumerate(_COLUMNS)}
        connection.register("listed", pa.table(columns))
        self._fields = {(reason, field) for reason, field, _ in rows}

    def reason(self) -> str:
        """An expression that is `list.keep`, `list.drop` or null."""
        return f"CASE WHEN {self._condition(KEEP)} THEN '{KEEP}' WHEN {self._condition(DROP)} THEN '{DROP}' END"

    def needs_source(self) -> bool:
        """Whether a list names sources."""
        return any(field == "source" for _, field in self._fields)

    def unmatched(self, table: str) -> list[dict[str, str]]:
        """The entries that no row of `table` matches: list, field and entry, sorted."""
        missing: list[tuple[str, str, str]] = []
        for field in sorted({field for _, field in self._fields}):
            query = f"""
                SELECT * FROM listed
                WHERE field = ? AND entry NOT IN (SELECT "{field}" FROM {table} WHERE "{field}" IS NOT NULL)
                """
            missing += self._connection.execute(query, [field]).fetchall()
        for reason, field, pattern in self._patterns:
            query = f'SELECT 1 FROM {table} WHERE "{field}" GLOB ? LIMIT 1'
            if self._connection.execute(query, [glob(pattern)]).fetchone() is None:
                missing.append((reason, field, pattern))
        return [{"list": reason, "field": field, "entry": entry} for reason, field, entry in sorted(missing)]

    def _condition(self, reason: str) -> str:
        named = f"FROM listed SELECT entry WHERE reason = '{reason}' AND field ="
        conditions = [
            f"coalesce(\"{field}\" IN ({named} '{field}'), FALSE)" for of, field in sorted(self._fields) if of == reason
        ]
        conditions += [
            f'coalesce("{field}" GLOB {literal(glob(pattern))}, FALSE)'
            for of, field, pattern in self._patterns
            if of == reason
        ]
        return " OR ".join(conditions) or "FALSE"


def glob(pattern: str) -> str:
    """The pattern in DuckDB's words, in which a bracket and a backslash mean something too."""
    return pattern.replace("\\", "\\\\").replace("[", "\\[")
