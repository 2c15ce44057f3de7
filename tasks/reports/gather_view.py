"""What the sections of the report ask: a database over the tables of all steps, and the step that gives a reason."""

from collections.abc import Sequence

import duckdb

from data_quality.judge import register_signals
from tasks.filter import dropped_tables, kept_tables
from tasks.reports.excerpts import LENGTH, LONGEST_ADDRESS
from tasks.reports.inputs import Reported
from tasks.running.tables import answer, score_tables
from tasks.store import Artifact

RULES = "rules"
STEPS = {
    "duplicate.url": "url",
    "duplicate.exact": "dedupe",
    "duplicate.near": "dedupe",
    "lines.too_little_left": "lines",
    "substring.too_little_left": "substring",
}
"""Steps by the reasons that they give; rules and lists give the others, but for those that name a benchmark."""

CONTAMINATED = "contaminated."


def step_of(reason: str) -> str:
    """The step that gives a reason."""
    return "decontaminate" if reason.startswith(CONTAMINATED) else STEPS.get(reason, RULES)


def paths(artifact: Artifact) -> list[str]:
    """The files of all shards."""
    return [str(shard.path) for shard in artifact.shards()]


def measure(connection: duckdb.DuckDBPyConnection, made: Reported) -> None:
    """Create what the sections ask: views `signals` and `decisions`, tables `measured` and `membership`.

    `signals` has all that rules may name, scores too, `decisions` what became of each document. `measured` joins the
    two: id, source, language, bytes, characters, words (of the normalised text), kept, reason, reasons, twin, jaccard.
    `membership` is the split's table, if there is one.
    """
    connection.register("decisions", connection.read_parquet(paths(made.decisions)))
    shards = [shard.path for shard in made.signals.shards()]
    register_signals(connection, shards, [score_tables(artifact) for artifact in made.scores])
    connection.execute(
        """
        CREATE TABLE measured AS
        SELECT id, source, signals.language, bytes, characters, words, kept, reason, reasons, twin, jaccard
        FROM signals JOIN decisions USING (id)
        """
    )
    if made.split is not None:
        connection.execute("CREATE TABLE membership AS FROM read_parquet(?)", [str(made.split.file("split.parquet"))])


def show(connection: duckdb.DuckDBPyConnection, kept: Artifact, ids: Sequence[str]) -> None:
    """Create table `documents` (id, source, text) of the beginnings of some kept and dropped texts.

    As they leave the mill: personal data is out of both. One look at all texts serves all sections.
    """
    views = [str(path) for path in [*kept_tables(kept), *dropped_tables(kept)]]
    connection.execute(
        "CREATE TABLE documents AS SELECT id, source, left(text, $length) AS text FROM read_parquet($views) "
        "SEMI JOIN (SELECT unnest($ids::VARCHAR[]) AS id) USING (id)",
        {"views": views, "ids": list(ids), "length": LENGTH + LONGEST_ADDRESS},
    )


def columns(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """The columns of a relation with their types."""
    return {row["column_name"]: row["column_type"] for row in answer(connection, f"DESCRIBE SELECT * FROM {relation}")}
