"""Dedupe: which documents go in favour of which twin, with the evidence. A table; no text is touched here."""

from data_quality.config import DedupeConfig
from tasks.stage import Work, stage
from tasks.store import Artifact
from tasks.tables import rows

LARGEST_FAMILIES = 20


@stage(version=1)
def dedupe(work: Work, config: DedupeConfig, *, signatures: Artifact, verdicts: Artifact) -> None:
    """Find exact and near-duplicates, verified; a document that fails the rules never replaces one that passes."""
    from data_quality.dedupe.minhash import near_dedupe

    out = work.directory / "duplicates.parquet"
    counts = near_dedupe(
        [shard.path for shard in signatures.shards()],
        out,
        config,
        verdict_paths=[verdicts.file("verdicts.parquet")],
        temp_directory=work.scratch,
        memory_limit=work.resources.memory_limit,
        threads=work.resources.threads,
        progress=work.progress.start(int(signatures.counts()["documents"]), "documents"),
    )
    work.counts.update(counts)
    families = rows(
        "SELECT kept, family_size, count(*) FILTER (kind = 'exact') AS exact, round(min(jaccard), 3) AS lowest_jaccard "
        "FROM read_parquet(?) GROUP BY ALL ORDER BY family_size DESC, kept LIMIT ?",
        [str(out), LARGEST_FAMILIES],
    )
    work.table("families", families, "The largest families of duplicates and the document that stays")
