"""A held-out set for two models: documents that the split of every training of both keeps for testing.

Test membership is a function of a document's id and permanent, and each split keeps near-twins of its test documents
out of its training. A document that is a test document, with the same text, for all trainings of two models is
therefore one that neither of them, nor any model that they went on from, has read.
"""

from pydantic import Field

from data_quality.errors import UsageError
from lm.config import StrictModel
from tasks.stage import Work, stage
from tasks.store import Artifact

HELD_OUT = "held-out.parquet"


class ContestDocumentsConfig(StrictModel):
    """How many documents."""

    documents: int = Field(
        default=1000, ge=1, description="Documents at most, those of least hash: enough for an interval, soon scored."
    )
    least: int = Field(
        default=30, ge=2, description="With fewer, no comparison is made: an interval would say nothing."
    )


class TooFewHeldOut(UsageError):
    """Two models share too few test documents to be compared."""


@stage(version=1)
def contest_documents(
    work: Work, config: ContestDocumentsConfig, *, corpus: Artifact, corpora: list[Artifact], split: list[Artifact]
) -> None:
    """Write held-out.parquet (id, text), in the order of ids.

    Args:
        corpus: the kept documents of which the texts are taken.
        corpora, split: of every training of both models, in the same order.

    Raises:
        TooFewHeldOut: saying how many there are, and of how many test documents.
    """
    from data_quality.sql import open_database, parquet, single_row, write_rows

    with open_database(work.scratch, work.resources.memory_limit, work.resources.threads) as (sql, _):
        sql.execute(f"CREATE TABLE shared AS SELECT id, text_hash FROM {parquet([s.path for s in corpus.shards()])}")
        for made, parted in zip(corpora, split, strict=True):
            sql.execute(
                "CREATE OR REPLACE TABLE shared AS SELECT id, text_hash FROM shared "
                f"JOIN {parquet([s.path for s in made.shards()])} USING (id, text_hash) "
                f"JOIN {parquet([parted.file('split.parquet')])} s USING (id) WHERE s.split = 'test'"
            )
        [found] = single_row(sql, "SELECT count(*) FROM shared")
        if found < config.least:
            tests = [int(each.counts().get("test", 0)) for each in split]
            raise TooFewHeldOut(
                f"only {found} documents are test documents of every training of both models (each has {tests}), and "
                f"{config.least} are needed (`held_out.least`): train both on corpora of one source and one "
                "`split.salt`, or raise `split.test_fraction`"
            )
        sql.execute("CREATE TABLE chosen AS SELECT id FROM shared ORDER BY sha256(id), id LIMIT ?", [config.documents])
        texts = sql.sql(
            f"SELECT id, text FROM {parquet([s.path for s in corpus.shards()])} "
            "WHERE id IN (SELECT id FROM chosen) ORDER BY id"
        )
        write_rows(texts, None, work.directory / HELD_OUT)
        [documents] = single_row(sql, "SELECT count(*) FROM chosen")
    work.counts |= {"documents": documents, "shared": found}
