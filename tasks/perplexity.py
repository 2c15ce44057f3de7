"""Perplexity: a language model of reference text, the score of every document, and head, middle and tail."""

from pathlib import Path
from typing import Any

from data_quality.config import PerplexityConfig, Selection
from tasks.parts import Part, build_parts, one_table
from tasks.selection import SELECTED, selected
from tasks.stage import NoConfig, Work, stage
from tasks.store import Artifact
from tasks.tables import database, rows

BUCKETS = "buckets.parquet"
COUNTS = "counts.parquet"
LIBRARIES = ("rjieba", "spacy", "unicode")


def perplexity(config: PerplexityConfig, *, corpus: Artifact, reference: Artifact) -> Artifact:
    """The three stages one after the other: unigram model of the reference, scores, buckets."""
    chosen = config.reference.model_copy(update={"read": ()})  # what was read is an input, known by its content
    model = reference_model(chosen, reference=reference)
    scored = perplexities(NoConfig(), corpus=corpus, model=model)
    return perplexity_buckets(config.model_copy(update={"reference": Selection()}), scores=scored)


@stage(version=1, libraries=LIBRARIES)
def reference_model(work: Work, config: Selection, *, reference: Artifact) -> None:
    """Count the words of the reference, each language by itself."""
    from data_quality.perplexity import count_words, save_counts

    with database(work.resources, work.scratch) as connection:
        documents = connection.execute(f"SELECT text, language {SELECTED}", selected(reference, config))
        counts = count_words(iter(documents.fetchone, None))
    save_counts(counts, work.directory / COUNTS)
    work.counts |= {"languages": len(counts), "words": sum(sum(words.values()) for words in counts.values())}


@stage(version=1, libraries=LIBRARIES)
def perplexities(work: Work, config: NoConfig, *, corpus: Artifact, model: Artifact) -> None:
    """Score every document."""
    parts = [
        Part({"shard": shard.digest, "model": model.digest}, (str(shard.path), str(model.path / COUNTS)))
        for shard in corpus.shards()
    ]
    build_parts(work, "perplexities.shard", 1, perplexity_part, parts, libraries=LIBRARIES)


def perplexity_part(directory: Path, shard: str, counts: str) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.perplexity import UnigramScorer, load_counts, perplexity_shard

    out = directory / "perplexity.parquet"
    return one_table(out, perplexity_shard(Path(shard), out, UnigramScorer(load_counts(Path(counts)))))


@stage(version=1)
def perplexity_buckets(work: Work, config: PerplexityConfig, *, scores: Artifact) -> None:
    """Sort the documents of each language by perplexity: buckets.parquet."""
    from data_quality.perplexity import perplexity_buckets as sort

    out = work.directory / BUCKETS
    counts = sort(
        [shard.path for shard in scores.shards()],
        out,
        config,
        work.resources.memory_limit,
        work.resources.threads,
        work.scratch / "spill",
    )
    work.counts.update(counts)
    table = rows(
        "SELECT coalesce(language, 'unknown') AS language, perplexity_bucket AS bucket, count(*) AS documents, "
        "round(min(perplexity), 1) AS lowest, round(max(perplexity), 1) AS highest FROM read_parquet(?) "
        "GROUP BY ALL ORDER BY ALL",
        [str(out)],
        work,
    )
    work.table("buckets", table, "Documents of each language by perplexity")
