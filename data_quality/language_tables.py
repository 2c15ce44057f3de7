"""Language tables (`language.identify_shard`) beside documents: what was identified in place of what is stated."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.sql import connect, parquet


def with_languages(
    batches: Iterable[pa.RecordBatch], documents: Path, languages: Sequence[Path], columns: Sequence[str]
) -> Iterator[pa.Table]:
    """The batches of a documents shard as tables; with `languages`, `columns` are taken from there by document id.

    Raises:
        ValueError: the language tables lack a document.
    """
    known = _languages_of(documents, languages, ["id", *columns]) if languages else None
    row = {} if known is None else {id: at for at, id in enumerate(known.column("id").to_pylist())}
    for batch in batches:
        table = pa.Table.from_batches([batch])
        if known is not None:
            ids = table.column("id").to_pylist()
            missing = [id for id in ids if id not in row]
            if missing:
                raise ValueError(
                    f"{', '.join(map(str, languages))} lacks document {missing[0]} of {documents}: "
                    "identify its languages again"
                )
            found = known.take([row[id] for id in ids])
            own = {name: table[name] for name in table.column_names}
            table = pa.table(own | {name: found[name] for name in columns})
        yield table


def _languages_of(documents: Path, tables: Sequence[Path], columns: Sequence[str]) -> pa.Table:
    """The language columns of the documents of one shard; of many tables, only their rows are held."""
    if len(tables) == 1:
        return pq.read_table(tables[0], columns=list(columns))
    with TemporaryDirectory() as spill, connect("1GB", 1, Path(spill)) as sql:
        found = sql.sql(
            f"SELECT {', '.join(columns)} FROM {parquet(tables)} l SEMI JOIN {parquet([documents])} USING (id)"
        )
        return found.to_arrow_table()
