"""The quality classifier: trained once on two selections of documents, then a score for every document."""

from pathlib import Path
from typing import Any

from data_quality.config import ClassifierConfig, Selection
from tasks.running.parts import Part, build_parts, one_table
from tasks.running.tables import database
from tasks.selection import SELECTED, selected
from tasks.stage import NoConfig, Work, stage
from tasks.store import Artifact

LIBRARIES = ("rjieba", "spacy", "unicode")


@stage(version=1, libraries=LIBRARIES)
def train_classifier(work: Work, config: ClassifierConfig, *, reference: Artifact, raw: Artifact) -> None:
    """Learn to tell reference documents from raw ones.

    Raises:
        ValueError: a selection has no document.
    """
    from data_quality.classifier import save_classifier
    from data_quality.classifier import train_classifier as train

    good = selected_texts(work, reference, config.reference, config.max_documents)
    other = selected_texts(work, raw, config.raw, config.max_documents)
    advance = work.progress.start(len(good) + len(other), "documents")
    model, figures = train(good, other, config, advance)
    save_classifier(model, figures, work.directory)
    work.counts.update(figures)


def selected_texts(work: Work, corpus: Artifact, selection: Selection, limit: int) -> list[str]:
    """The distinct texts of the selected documents, at most `limit`, those with the least hashes."""
    with database(work.resources, work.scratch) as connection:
        rows = connection.execute(
            f"SELECT any_value(text) {SELECTED} GROUP BY text_hash ORDER BY text_hash LIMIT $limit",
            {**selected(corpus, selection), "limit": limit},
        ).fetchall()
    return [text for (text,) in rows]


@stage(version=1, libraries=LIBRARIES)
def classifier_scores(work: Work, config: NoConfig, *, corpus: Artifact, classifier: Artifact) -> None:
    """Score every document of a corpus."""
    parts = [
        Part({"shard": shard.digest, "classifier": classifier.digest}, (str(shard.path), str(classifier.path)))
        for shard in corpus.shards()
    ]
    build_parts(work, "classifier_scores.shard", 1, scores_part, parts, libraries=LIBRARIES)


def scores_part(directory: Path, shard: str, classifier: str) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.classifier import load_classifier, score_shard

    out = directory / "scores.parquet"
    return one_table(out, score_shard(Path(shard), out, load_classifier(Path(classifier))))
