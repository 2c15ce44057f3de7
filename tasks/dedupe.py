"""Dedupe: which documents go in favour of which twin, with the evidence. A table; no text is touched here."""

from data_quality.config import DedupeConfig
from tasks.stage import Work, stage
from tasks.store import Artifact, Store
from tasks.tables import rows

LARGEST_FAMILIES = 20


@stage(version=2)
def dedupe(
    work: Work,
    config: DedupeConfig,
    *,
    signatures: Artifact,
    verdicts: Artifact,
    scores: Artifact | None = None,
    corpus: Artifact | None = None,
    pinned: Artifact | None = None,
) -> None:
    """Find exact and near-duplicates, verified; a document that fails the rules never replaces one that passes.

    An earlier artifact of the same config is gone on from. It is no input and not in the key: with it or without it,
    the files are the same.

    Inputs: `scores` (scores.parquet, for keep policy best_score), `corpus` (documents, for policy oldest), `pinned`
    (pinned.parquet, ids that must stay); each is left out where it is not needed.
    """
    from data_quality.dedupe.minhash import near_dedupe

    out = work.directory / "duplicates.parquet"
    hint = _newest(work.store, config)
    if hint is not None:
        work.store.need(work.directory, "hint", [(hint.stage, hint.key)])
    counts = near_dedupe(
        [shard.path for shard in signatures.shards()],
        out,
        config,
        verdict_paths=[verdicts.file("verdicts.parquet")],
        score_paths=[scores.file("scores.parquet")] if scores else [],
        document_paths=[shard.path for shard in corpus.shards()] if corpus else [],
        pinned_paths=[pinned.file("pinned.parquet")] if pinned else [],
        keep_state=True,
        previous=hint.path if hint else None,
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
    )
    work.table("families", families, "The largest families of duplicates and the document that stays")


def _newest(store: Store, config: DedupeConfig) -> Artifact | None:
    """The last published dedupe artifact of this version and config that is sound, or None."""
    wanted = (dedupe.version, config.model_dump(mode="json"))
    found = sorted(store.list("dedupe"), key=lambda a: (a.path / "manifest.json").stat().st_mtime_ns, reverse=True)
    for artifact in found:
        manifest = artifact.manifest()
        if (manifest["version"], manifest["config"]) == wanted and store.verify(artifact):
            return artifact
    return None
