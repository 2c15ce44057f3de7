"""Decisions in columns against the same in SQL, on shards that are drawn."""

import random
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_quality.decisions import DICTIONARY_COLUMNS, REASONS, SCHEMA, SPAN, decide
from data_quality.spans import SPANS_SCHEMA

EDITS = pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32())]))
VERDICTS = pa.schema(
    [("id", pa.string()), ("reasons", REASONS), ("first_reason", pa.string()), ("listed", pa.string())]
)
SIGNALS = pa.schema([("id", pa.string()), ("language", pa.string()), ("edits_a", EDITS), ("edits_b", EDITS)])
DROPS = pa.schema([("id", pa.string()), ("reasons", REASONS)])
METADATA = pa.schema([("id", pa.string()), ("metadata", pa.string())])
EVERYWHERE = pa.schema(
    [
        ("id", pa.string()),
        ("reasons", REASONS),
        ("twin", pa.string()),
        ("jaccard", pa.float64()),
        ("spans", pa.list_(SPAN)),
        ("drops", pa.list_(pa.struct([("step", pa.int32()), ("reasons", REASONS)]))),
    ]
)
KINDS = ("line", "pii.email", "pii.phone", "substring")

BY_QUERY = """
    WITH spans AS (
             SELECT id, list(span ORDER BY span) AS spans FROM (
                 SELECT id, {{'start': "start", 'end': "end", 'kind': kind, 'replacement': replacement}} AS span
                 FROM read_parquet($spans)
                 UNION ALL SELECT id, unnest(spans) FROM everywhere
             ) GROUP BY id
         ),
         drops AS (
             SELECT id, flatten(list(reasons ORDER BY step)) AS reasons FROM (
                 SELECT id, reasons, 1 AS step FROM read_parquet($drops)
                 UNION ALL SELECT id, said.reasons, said.step FROM (SELECT id, unnest(drops) AS said FROM everywhere)
             ) GROUP BY id
         ),
         decided AS (
             SELECT v.id, coalesce(v.listed = 'keep', FALSE) AS stays,
                    v.reasons || coalesce(d.reasons, []) || coalesce(c.reasons, []) AS reasons,
                    d.twin, d.jaccard, s.language, {edits} AS edits, coalesce(p.spans, []) AS said,
                    m.metadata AS redacted_metadata
             FROM read_parquet($documents) h JOIN read_parquet($verdicts) v ON v.id = h.id
                 JOIN read_parquet($signals) s ON s.id = v.id LEFT JOIN everywhere d ON d.id = v.id
                 LEFT JOIN drops c ON c.id = v.id LEFT JOIN spans p ON p.id = v.id
                 LEFT JOIN read_parquet($metadata) m ON m.id = v.id
         )
    SELECT id, stays OR len(reasons) = 0 AS kept, CASE WHEN NOT stays THEN reasons[1] END AS reason, reasons, twin,
           jaccard, language, edits,
           CASE WHEN kept THEN said ELSE list_filter(said, lambda s: starts_with(s.kind, 'pii.')) END AS spans,
           redacted_metadata,
           coalesce(list_aggregate(list_transform(spans, lambda s: s.kind), 'histogram'), MAP {{}}) AS span_counts
    FROM decided ORDER BY id
"""


def some(draw: random.Random, *values: Any) -> list[Any]:
    return draw.sample(values, draw.randrange(len(values) + 1))


def span(draw: random.Random) -> dict[str, Any]:
    start = draw.randrange(5)
    return {"start": start, "end": start + 1, "kind": draw.choice(KINDS), "replacement": draw.choice(["", "<x>"])}


def edits(draw: random.Random) -> Any:
    return draw.choice([None, [], [{"start": 1, "end": 2}], [{"start": 0, "end": 1}, {"start": 3, "end": 9}]])


def tables(folder: Path, seed: int, documents: int) -> tuple[dict[str, list[Path]], pa.Table]:
    """The tables of a shard; each but the first has documents of another shard, too, and may lack some."""
    draw = random.Random(seed)
    ids = [f"d{number:02}" for number in draw.sample(range(90), documents)]
    others = [*ids, "other-1", "other-2"]
    rows: dict[str, tuple[pa.Schema, list[dict[str, Any]]]] = {
        "documents": (pa.schema([("id", pa.string()), ("text", pa.string())]), [{"id": id, "text": ""} for id in ids]),
        "verdicts": (
            VERDICTS,
            [
                {"id": id, "reasons": some(draw, "r.a", "r.b"), "listed": draw.choice([None, None, "keep", "drop"])}
                for id in others[1:]
            ],
        ),
        "signals": (
            SIGNALS,
            [
                {"id": id, "language": draw.choice(["en", None]), "edits_a": edits(draw), "edits_b": edits(draw)}
                for id in others[: -1 - draw.randrange(3)]
            ],
        ),
        "spans": (SPANS_SCHEMA, [{"id": draw.choice(others), **span(draw)} for _ in range(2 * documents)]),
        "drops": (DROPS, [{"id": id, "reasons": ["left"]} for id in some(draw, *others)]),
        "metadata": (METADATA, [{"id": id, "metadata": f"{{{id}}}"} for id in some(draw, *others)]),
    }
    paths = {}
    for name, (schema, found) in rows.items():
        draw.shuffle(found)
        cuts = [found] if name == "documents" else [found[: len(found) // 2], found[len(found) // 2 :]]
        paths[name] = [folder / f"{seed}-{name}-{number}.parquet" for number in range(len(cuts))]
        for path, cut in zip(paths[name], cuts, strict=True):
            pq.write_table(pa.Table.from_pylist(cut, schema=schema), path)
    everywhere = [
        {
            "id": id,
            "reasons": draw.choice([None, ["duplicate.near"], ["duplicate.url", "duplicate.exact"]]),
            "twin": draw.choice([None, "x"]),
            "jaccard": draw.choice([None, 0.9]),
            "spans": draw.choice([None, [], [span(draw), span(draw)]]),
            "drops": draw.choice([None, [{"step": 2, "reasons": ["late"]}, {"step": 0, "reasons": ["early", "too"]}]]),
        }
        for id in some(draw, *others)
    ]
    return paths, pa.Table.from_pylist(everywhere, schema=EVERYWHERE)


@pytest.mark.parametrize("columns", [[], ["edits_a"], ["edits_b", "edits_a"]])
def test_they_are_those_of_the_query(tmp_path: Path, columns: list[str]) -> None:
    of_columns = " || ".join(f"coalesce(s.{column}, [])" for column in columns) or '[]::STRUCT(start INT, "end" INT)[]'
    for seed in range(28):
        paths, everywhere = tables(tmp_path, seed, documents=seed % 14)
        found = decide(
            paths["documents"][0],
            paths["verdicts"],
            paths["signals"],
            edits=columns,
            spans=paths["spans"],
            drops=[(1, pq.read_table(path)) for path in paths["drops"]],
            everywhere=everywhere,
            metadata=paths["metadata"],
        )
        found.validate(full=True)
        with duckdb.connect() as connection:
            connection.register("everywhere", everywhere)
            parameters = {name: [str(path) for path in files] for name, files in paths.items()}
            expected = connection.sql(BY_QUERY.format(edits=of_columns), params=parameters).to_arrow_table()
        assert found.schema == SCHEMA
        assert found.to_pylist() == expected.to_pylist(), seed


def test_nothing_but_verdicts_and_signals(tmp_path: Path) -> None:
    paths, everywhere = tables(tmp_path, seed=3, documents=6)
    found = decide(
        paths["documents"][0],
        paths["verdicts"],
        paths["signals"],
        edits=[],
        spans=[],
        drops=[],
        everywhere=everywhere[:0],
        metadata=[],
    )
    reasons = {row["id"]: row for path in paths["verdicts"] for row in pq.read_table(path).to_pylist()}
    assert len(found)
    for row in found.to_pylist():
        verdict = reasons[row["id"]]
        assert row["reasons"] == verdict["reasons"]
        assert row["kept"] == (verdict["listed"] == "keep" or not verdict["reasons"])
        assert (row["twin"], row["spans"], row["edits"], row["redacted_metadata"], row["span_counts"]) == (
            None,
            [],
            [],
            None,
            [],
        )


def test_every_column_that_is_to_have_a_dictionary_is_one_of_the_file(tmp_path: Path) -> None:
    pq.write_table(SCHEMA.empty_table(), tmp_path / "decisions.parquet")
    written = pq.ParquetFile(tmp_path / "decisions.parquet").schema
    assert {written.column(number).path for number in range(len(written))} > set(DICTIONARY_COLUMNS)
