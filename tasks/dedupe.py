"""Dedupe: which documents go in favour of which twin, with the evidence. A table; no text is touched here."""

from pathlib import Path

from data_quality.config import DedupeConfig
from data_quality.sql import literal, parquet
from tasks.bands import in_order
from tasks.running.hint import earlier_result
from tasks.running.tables import database, rows, score_tables
from tasks.stage import Work, stage
from tasks.store import Artifact

LARGEST_FAMILIES = 20


@stage(version=6)
def dedupe(
    work: Work,
    config: DedupeConfig,
    *,
    signatures: Artifact,
    bands: list[Artifact],
    verdicts: Artifact,
    addresses: list[Artifact],
    scores: list[Artifact],
    corpus: list[Artifact],
) -> None:
    """Find exact and near-duplicates, verified; a document that fails the rules never replaces one that passes.

    An earlier artifact of the same config is gone on from. It is no input and not in the key: with it or without it,
    the files are the same.

    Args:
        bands: those of `signatures`; none where near-duplicates are not looked for.
        addresses: duplicates by URL: what these drop is never kept in favour of another either.
        scores: tables of numbers by id, for keep policy best_score: the one with the policy's column is taken.
        corpus: the documents, for policy oldest.

    What the keep-list names (`listed` in the verdicts) stays, whatever it resembles.
    """
    from data_quality.dedupe.minhash import near_dedupe

    out = work.directory / "duplicates.parquet"
    earlier = earlier_result(work, dedupe.name, dedupe.version, config.model_dump(mode="json"), like=signatures)
    counts = near_dedupe(
        [shard.path for shard in in_order(signatures)],
        out,
        config,
        band_paths=[shard.path for artifact in bands for shard in artifact.shards()],
        verdict_paths=[shard.path for shard in verdicts.shards()],
        duplicate_paths=[artifact.file("duplicates.parquet") for artifact in addresses],
        score_paths=_scores(config, scores),
        document_paths=[shard.path for artifact in corpus for shard in artifact.shards()],
        pinned_paths=_pinned(work, verdicts),
        keep_state=True,
        previous=earlier.path if earlier else None,
        temp_directory=work.scratch,
        memory_limit=work.resources.memory_limit,
        threads=work.resources.threads,
        progress=work.progress.start(int(signatures.counts()["documents"]), "documents"),
    )
    work.journal.metrics({"solved": counts.pop("solved")})  # depends on the hint: not for the manifest
    work.counts.update(counts)
    families = rows(
        "SELECT kept, family_size, count(*) FILTER (kind = 'exact') AS exact, round(min(jaccard), 3) AS lowest_jaccard "
        "FROM read_parquet(?) GROUP BY ALL ORDER BY family_size DESC, kept LIMIT ?",
        [str(out), LARGEST_FAMILIES],
        work,
    )
    work.table("families", families, "The largest families of duplicates and the document that stays")


def _scores(config: DedupeConfig, scores: list[Artifact]) -> list[Path]:
    """The tables that have the policy's column."""
    import pyarrow.parquet as pq

    if config.keep.policy != "best_score":
        return []
    tables = [path for artifact in scores for path in score_tables(artifact)]
    return [path for path in tables if config.keep.score_column in pq.read_schema(path).names]


def _pinned(work: Work, verdicts: Artifact) -> list[Path]:
    """A table of the ids that the keep-list names; none, if it names none."""
    table = work.scratch / "pinned.parquet"
    with database(work.resources, work.scratch / "spill") as connection:
        [(count,)] = connection.execute(
            f"COPY (SELECT id FROM {parquet([s.path for s in verdicts.shards()])} WHERE listed = 'keep' ORDER BY id) "
            f"TO {literal(table)} (FORMAT parquet)"
        ).fetchall()
    return [table] if count else []
