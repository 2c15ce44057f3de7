"""The quality classifier: trained once on two selections of documents, then a score for every document."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_quality.config import ClassifierConfig, Selection
from data_quality.sql import parquet
from tasks.running.parts import Part, build_parts, digests, one_table, tables_beside
from tasks.running.tables import database
from tasks.selection import SELECTED, selected
from tasks.stage import NoConfig, Work, stage
from tasks.store import Artifact

LIBRARIES = ("rjieba", "spacy", "unicode")


@stage(version=3, libraries=LIBRARIES)
def train_classifier(
    work: Work,
    config: ClassifierConfig,
    *,
    reference: Artifact,
    raw: Artifact,
    reference_languages: list[Artifact],
    raw_languages: list[Artifact],
) -> None:
    """Learn to tell reference documents from raw ones.

    Args:
        reference_languages: the identified languages of the reference; none: those that its sources state.
        raw_languages: the same of the raw documents.

    Raises:
        ValueError: a selection has no document.
    """
    from data_quality.classifier import save_classifier
    from data_quality.classifier import train_classifier as train

    good = selected_texts(work, reference, reference_languages, config.reference, config.max_documents)
    other = selected_texts(work, raw, raw_languages, config.raw, config.max_documents)
    advance = work.progress.start(len(good) + len(other), "documents")
    model, figures = train(list(good), list(other), config, advance, languages={**other, **good})
    save_classifier(model, figures, work.directory)
    work.counts.update(figures)


def selected_texts(
    work: Work, corpus: Artifact, languages: list[Artifact], selection: Selection, limit: int
) -> dict[str, str | None]:
    """The distinct texts of the selected documents, at most `limit`, those with the least hashes, and their languages.

    Of several languages of one text it is the first in the alphabet.
    """
    chosen = f"SELECT id, text, text_hash, language {SELECTED}"
    if languages:
        tables = parquet([shard.path for artifact in languages for shard in artifact.shards()])
        chosen = f"SELECT c.* REPLACE (l.language AS language) FROM ({chosen}) c LEFT JOIN {tables} l USING (id)"
    with database(work.resources, work.scratch) as connection:
        rows = connection.execute(
            f"SELECT any_value(text), min(language) FROM ({chosen}) GROUP BY text_hash ORDER BY text_hash LIMIT $limit",
            {**selected(corpus, selection), "limit": limit},
        ).fetchall()
    return dict(rows)


@stage(version=3, libraries=LIBRARIES)
def classifier_scores(
    work: Work, config: NoConfig, *, corpus: Artifact, classifier: Artifact, languages: list[Artifact]
) -> None:
    """Score every document of a corpus; `languages` as in `train_classifier`."""
    known = tables_beside(digests(corpus), languages[0]) if languages else [("stated", [])] * len(corpus.shards())
    parts = [
        Part(
            {"shard": shard.digest, "classifier": classifier.digest, "languages": digest},
            (str(shard.path), str(classifier.path), tables),
        )
        for shard, (digest, tables) in zip(corpus.shards(), known, strict=True)
    ]
    build_parts(work, "classifier_scores.shard", 3, scores_part, parts, libraries=LIBRARIES)


def scores_part(directory: Path, shard: str, classifier: str, languages: Sequence[str]) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.classifier import load_classifier, score_shard

    out, tables = directory / "scores.parquet", [Path(table) for table in languages]
    return one_table(out, score_shard(Path(shard), out, load_classifier(Path(classifier)), languages=tables))
