"""Perplexity: a language model of reference text, the score of every document, and head, middle and tail."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import duckdb

from data_quality.config import PerplexityConfig, Selection, StrictModel
from data_quality.errors import UsageError
from data_quality.sql import parquet
from tasks.running.parts import Part, build_parts, digests, made_of, one_table, tables_beside
from tasks.running.tables import database, rows
from tasks.selection import SELECTED, selected
from tasks.stage import NoConfig, Work, stage
from tasks.storage.files import read_json, write_json
from tasks.store import Artifact

if TYPE_CHECKING:
    from data_quality.perplexity import Scorer

COUNTS = "counts.parquet"
MODELS = "models.json"  # the languages that have an n-gram model, in the order of their folders
LIBRARIES = ("rjieba", "spacy", "unicode", "tokenizers")
BATCH_DOCUMENTS = 1_000


class ReferenceConfig(StrictModel):
    """Which documents a language model is made of, and how; meanings as in PerplexityConfig."""

    selection: Selection
    model: Literal["unigram", "ngram"]
    order: int | None = None
    vocab_size: int | None = None
    sample_bytes: int | None = None

    @classmethod
    def of(cls, config: PerplexityConfig) -> "ReferenceConfig":
        """What of the configuration shapes the model; what was read is an input, known by its content."""
        config = config.resolved()
        selection = config.reference.model_copy(update={"read": ()})
        if config.model == "unigram":
            return cls(selection=selection, model="unigram")
        return cls(
            selection=selection,
            model="ngram",
            order=config.order,
            vocab_size=config.vocab_size,
            sample_bytes=config.sample_bytes,
        )


def perplexity(
    config: PerplexityConfig,
    *,
    corpus: Artifact,
    reference: Artifact,
    languages: list[Artifact],
    reference_languages: list[Artifact],
) -> Artifact:
    """The three stages one after the other: model of the reference, scores, buckets.

    Args:
        languages: the identified languages of the corpus; none: those that its sources state.
        reference_languages: the same of the reference.
    """
    model = reference_model(ReferenceConfig.of(config), reference=reference, languages=reference_languages)
    scored = perplexities(NoConfig(), corpus=corpus, model=model, languages=languages)
    cuts = PerplexityConfig(head=config.head, middle=config.middle, minimum_documents=config.minimum_documents)
    return perplexity_buckets(cuts, scores=scored)


@stage(version=4, libraries=LIBRARIES)
def reference_model(work: Work, config: ReferenceConfig, *, reference: Artifact, languages: list[Artifact]) -> None:
    """Make a model of each language of the reference: counts.parquet of words, or a folder for each n-gram model."""
    with database(work.resources, work.scratch / "spill", work.scratch / "reference.duckdb") as connection:
        _chosen(connection, reference, languages, config.selection)
        if not connection.execute("SELECT 1 FROM chosen LIMIT 1").fetchall():
            raise UsageError(
                f"perplexity.reference selects no document of {reference.name}: its sources or ids match none"
            )
        if config.model == "unigram":
            _count_words(work, connection)
        else:
            _build_ngrams(work, connection, config)


def _chosen(
    connection: duckdb.DuckDBPyConnection, reference: Artifact, languages: list[Artifact], selection: Selection
) -> None:
    """Create view `chosen` (text, text_hash, language) of the selected documents."""
    connection.execute(f"CREATE OR REPLACE TABLE ids AS SELECT id, language {SELECTED}", selected(reference, selection))
    language = "ids.language"
    if languages:
        tables = parquet([shard.path for artifact in languages for shard in artifact.shards()])
        connection.execute(
            f"CREATE OR REPLACE TABLE identified AS SELECT id, language FROM {tables} SEMI JOIN ids USING (id)"
        )
        language = "(SELECT language FROM identified WHERE identified.id = ids.id)"
    documents = parquet([shard.path for shard in reference.shards()])
    columns = f"d.text, d.text_hash, {language} AS language"
    connection.execute(f"CREATE OR REPLACE VIEW chosen AS SELECT {columns} FROM {documents} d JOIN ids USING (id)")


def _count_words(work: Work, connection: duckdb.DuckDBPyConnection) -> None:
    from data_quality.perplexity import count_words, save_counts

    documents = connection.execute("SELECT text, language FROM chosen")
    counts = count_words(iter(documents.fetchone, None))
    save_counts(counts, work.directory / COUNTS)
    work.counts |= {"languages": len(counts), "words": sum(sum(words.values()) for words in counts.values())}


def _build_ngrams(work: Work, connection: duckdb.DuckDBPyConnection, config: ReferenceConfig) -> None:
    """A byte-level BPE and a modified Kneser-Ney model of its tokens for every language, each in a folder."""
    from lm.ngram.build import build_ngram
    from lm.ngram.config import NgramConfig
    from lm.tokenizer import encode_documents, load_tokenizer, train_tokenizer
    from lm.tokenizers.config import ByteBPEConfig

    assert config.order
    assert config.vocab_size
    assert config.sample_bytes
    languages = _sample(connection, config.sample_bytes)
    advance = work.progress.start(len(languages), "languages")
    work.counts |= {"languages": len(languages), "tokens": 0}
    with work.graceful_stop() as should_stop:
        for number, language in enumerate(languages):
            folder, learned = work.directory / str(number), work.scratch / "tokenizer"
            if not (folder / "config.json").exists():  # else built before this stage was interrupted
                settings = ByteBPEConfig(vocab_size=config.vocab_size, sample_bytes=config.sample_bytes)
                texts = chain.from_iterable(_texts(connection, language))
                train_tokenizer(texts, settings, learned, should_stop=should_stop)
                tokenizer = load_tokenizer(learned)
                build_ngram(
                    chain.from_iterable(encode_documents(tokenizer, texts) for texts in _texts(connection, language)),
                    learned,
                    NgramConfig(order=config.order),
                    folder,
                    memory_limit=work.resources.memory_limit,
                    threads=work.resources.threads,
                    scratch=work.scratch,
                    should_stop=should_stop,
                )
            work.counts["tokens"] += read_json(folder / "config.json")["tokens"]
            advance(1)
    write_json(work.directory / MODELS, languages)


def _sample(connection: duckdb.DuckDBPyConnection, most: int) -> list[str | None]:
    """Create table `sample` (language, text_hash, text): of each language different texts of about `most` bytes, those
    of the least hashes. Returns the languages in order."""
    for query in (
        """
        CREATE OR REPLACE TABLE sizes AS
        SELECT language, text_hash, any_value(strlen(text)) AS size FROM chosen WHERE text != '' GROUP BY ALL
        """,
        f"""
        CREATE OR REPLACE TABLE wanted AS SELECT language, text_hash FROM sizes
        QUALIFY sum(size) OVER (PARTITION BY language ORDER BY text_hash) - size < {most}
        """,
        """
        CREATE OR REPLACE TABLE sample AS
        SELECT w.language, w.text_hash, any_value(text) AS text
        FROM chosen c JOIN wanted w ON w.text_hash = c.text_hash AND w.language IS NOT DISTINCT FROM c.language
        GROUP BY ALL ORDER BY ALL
        """,
    ):
        connection.execute(query)
    found = connection.execute("SELECT DISTINCT language FROM wanted ORDER BY ALL").fetchall()
    return [language for (language,) in found]


def _texts(connection: duckdb.DuckDBPyConnection, language: str | None) -> Iterator[list[str]]:
    """The texts of `sample` in one language, some at a time, in one order: a tokenizer reads no more than its share."""
    documents = connection.execute(
        "SELECT text FROM sample WHERE language IS NOT DISTINCT FROM $language ORDER BY text_hash",
        {"language": language},
    )
    while rows := documents.fetchmany(BATCH_DOCUMENTS):
        yield [text for (text,) in rows]


@stage(version=4, libraries=LIBRARIES)
def perplexities(work: Work, config: NoConfig, *, corpus: Artifact, model: Artifact, languages: list[Artifact]) -> None:
    """Score every document."""
    made = next(path for path in (model.path / MODELS, model.path / COUNTS) if path.exists())
    known = tables_beside(digests(corpus), languages[0]) if languages else [("stated", [])] * len(corpus.shards())
    parts = [
        Part(
            {"shard": shard.digest, "model": model.digest, "languages": digest},
            (str(shard.path), str(made), tables),
        )
        for shard, (digest, tables) in zip(corpus.shards(), known, strict=True)
    ]
    build_parts(work, "perplexities.shard", 4, perplexity_part, parts, libraries=LIBRARIES)


def perplexity_part(directory: Path, shard: str, model: str, languages: Sequence[str]) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.perplexity import perplexity_shard

    out, tables = directory / "perplexity.parquet", [Path(table) for table in languages]
    return one_table(out, perplexity_shard(Path(shard), out, _scorer(Path(model)), languages=tables))


def _scorer(model: Path) -> "Scorer":
    """What scores documents by a model of `reference_model`, of which one file is named."""
    from data_quality.perplexity import UnigramScorer, load_counts

    if model.name == COUNTS:
        return UnigramScorer(load_counts(model))

    from lm.ngram.score import NgramScorer

    folders = {language: model.with_name(str(number)) for number, language in enumerate(read_json(model))}
    scorers: dict[str | None, NgramScorer] = {}  # of the languages that were met

    def score(text: str, language: str | None) -> float | None:
        if language not in folders:
            return None
        if language not in scorers:
            scorers[language] = NgramScorer(folders[language])
        return scorers[language](text, language)

    return score


@stage(version=2)
def perplexity_buckets(work: Work, config: PerplexityConfig, *, scores: Artifact) -> None:
    """Sort the documents of each language by perplexity: a table for each shard of the scores."""
    from data_quality.perplexity import perplexity_buckets as sort

    shards = scores.shards()
    tables = [work.directory / f"{number:05d}.parquet" for number in range(len(shards))]
    for leftover in work.directory.glob("*.parquet"):  # of a build that was killed, of scores that were cut otherwise
        leftover.unlink()
    counts = sort(
        [shard.path for shard in shards],
        tables,
        config,
        work.resources.memory_limit,
        work.resources.threads,
        work.scratch / "spill",
    )
    work.counts.update(counts)
    for shard, table, documents in zip(shards, tables, made_of(scores), strict=True):
        [entry] = one_table(table, {"documents": shard.counts["documents"]})["shards"]
        work.shards.append({**entry, "of": documents})
    found = rows(
        "SELECT coalesce(language, 'unknown') AS language, perplexity_bucket AS bucket, count(*) AS documents, "
        "round(min(perplexity), 1) AS lowest, round(max(perplexity), 1) AS highest FROM read_parquet(?) "
        "GROUP BY ALL ORDER BY ALL",
        [list(map(str, tables))],
        work,
    )
    work.table("buckets", found, "Documents of each language by perplexity")
