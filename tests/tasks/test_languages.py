"""The stage `languages`, and `signals` on top of it, however the corpus was cut into shards."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_quality.config import LanguageConfig, SignalsConfig
from data_quality.documents import SCHEMA, documents_digest
from data_quality.hashing import combine_digests
from tasks.languages import languages
from tasks.running.run import Run
from tasks.signals import parts_with_languages, signals
from tasks.stage import Work, stage
from tasks.store import Artifact
from tests.tasks.stages import NumbersConfig

TEXTS = {
    "a": "The weather is fine today, and we are going to walk in the park.",
    "b": "今天天气很好，我们去公园散步。",
    "c": "Das Wetter ist heute schön, und wir gehen im Park spazieren.",
}


@stage(version=1)
def cut(work: Work, config: NumbersConfig) -> None:
    """The documents of TEXTS, `count` a shard; the digest does not depend on the cut."""
    names = [*TEXTS]
    for start in range(0, len(names), config.count):
        rows = [
            {"id": id, "text": TEXTS[id], "source": "s", "language": None, "metadata": "{}", "text_hash": id}
            for id in names[start : start + config.count]
        ]
        path = work.directory / f"{start:05d}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
        work.shards.append({"path": path.name, "digest": documents_digest(path), "counts": {"documents": len(rows)}})
    work.digest = combine_digests([shard["digest"] for shard in work.shards])


def measured(artifact: Artifact) -> list[dict[str, object]]:
    columns = ["id", "language", "language_score", "words", "stop_words"]
    rows = [row for shard in artifact.shards() for row in pq.read_table(shard.path, columns=columns).to_pylist()]
    return sorted(rows, key=lambda row: str(row["id"]))


@pytest.mark.usefixtures("run")
def test_signals_find_the_languages_of_their_documents_however_they_are_cut() -> None:
    corpus, other = cut(NumbersConfig(count=2)), cut(NumbersConfig(count=1))
    assert corpus.digest == other.digest
    table = languages(LanguageConfig(), corpus=corpus)
    assert table.counts()["documents"] == len(TEXTS)
    same = measured(signals(SignalsConfig(), corpus=corpus, languages=table))
    assert [row["language"] for row in same] == ["en", "zh", "de"]
    assert [row["words"] for row in same] == [16, 9, 14]
    assert measured(signals(SignalsConfig(short_line_length=29), corpus=other, languages=table)) == same


def test_a_part_reads_nothing_but_artifacts_so_that_another_machine_can_build_it(run: Run) -> None:
    table = languages(LanguageConfig(), corpus=cut(NumbersConfig(count=2)))
    other = cut(NumbersConfig(count=1))
    for part in parts_with_languages(SignalsConfig(), other, table):
        shard, _, tables = part.arguments
        assert all(Path(path).is_relative_to(run.store.artifacts) for path in [shard, *tables])


@pytest.mark.usefixtures("run")
def test_without_a_language_table_there_are_no_language_columns() -> None:
    artifact = signals(SignalsConfig(), corpus=cut(NumbersConfig(count=2)))
    assert "language_score" not in pq.read_schema(artifact.shards()[0].path).names
