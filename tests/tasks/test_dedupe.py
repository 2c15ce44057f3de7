"""An earlier result is a hint: it saves work and changes neither key nor content."""

import json
import random
from pathlib import Path

import pytest

from data_quality.config import DedupeConfig, IngestConfig, NearDedupeConfig, SignalsConfig, SignatureConfig
from tasks.bands import bands
from tasks.dedupe import dedupe
from tasks.filter import JudgeRequest, judge
from tasks.ingest import fingerprinted, ingest
from tasks.normalize import normalize
from tasks.running import pool
from tasks.running.journal import JOURNAL, history
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.signals import signals, signatures
from tasks.stage import NoConfig
from tasks.store import RUN_DIRECTORY, Artifact, Store
from tests.tasks.tiny_corpus import configuration, write_documents


def deduped(root: Path, documents: Path, config: DedupeConfig) -> Artifact:
    """The dedupe artifact of a folder of documents, in the store at `root`."""
    settings = configuration(documents)
    with use_run(Run(Store(root), Resources(workers=1, threads=1), Display(quiet=True))):
        corpus = normalize(settings.normalize, corpus=ingest(fingerprinted(settings.ingest, None)))
        verdicts = judge(JudgeRequest(rulesets=()), signals=signals(settings.rules.signals, corpus=corpus), scores=[])
        signed = signatures(settings.near_dedupe.signatures(), corpus=corpus)
        shared = [bands(NoConfig(), signatures=signed)]
        found = dedupe(config, signatures=signed, bands=shared, verdicts=verdicts, addresses=[], scores=[], corpus=[])
    pool.shut_down()
    return found


def solved(artifact: Artifact) -> float:
    return history(artifact.path / RUN_DIRECTORY / JOURNAL)["solved"][0][1]


def test_the_digest_is_the_same_with_and_without_an_earlier_result(tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    write_documents(documents)
    config = DedupeConfig()
    earlier = deduped(tmp_path / "store", documents, config)
    (documents / "gardens" / "late.txt").write_text((documents / "harbours" / "07.txt").read_text() + " One more.")
    (documents / "gardens" / "03.txt").unlink()
    refreshed = deduped(tmp_path / "store", documents, config)
    full = deduped(tmp_path / "other", documents, config)
    assert (refreshed.key, refreshed.digest) == (full.key, full.digest)
    assert refreshed.key != earlier.key
    assert refreshed.counts() == full.counts()
    assert solved(full) == full.counts()["documents"]
    assert 0 < solved(refreshed) < 10


def test_bands_cut_into_ranges_find_the_same_twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = tmp_path / "documents"
    write_documents(documents)
    whole = deduped(tmp_path / "whole", documents, DedupeConfig())
    monkeypatch.setattr("data_quality.dedupe.bands.VALUES_AT_ONCE", 5)
    monkeypatch.setattr("data_quality.dedupe.bands.RANGE_VALUES", 10)
    cut = deduped(tmp_path / "cut", documents, DedupeConfig())
    assert cut.file("duplicates.parquet").read_bytes() == whole.file("duplicates.parquet").read_bytes()
    one, several = (Store(tmp_path / name).list("bands")[0] for name in ("whole", "cut"))
    assert several.counts() == one.counts()
    assert len(several.shards()) == len(several.manifest()["parts"]) > 14 > len(one.shards()) == 1


def test_a_result_of_another_config_is_no_hint(tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    write_documents(documents)
    deduped(tmp_path / "store", documents, DedupeConfig(near=NearDedupeConfig(threshold=0.5)))
    second = deduped(tmp_path / "store", documents, DedupeConfig())
    assert solved(second) == second.counts()["documents"]


def test_shards_of_equal_content_in_another_order_find_the_same_twins(tmp_path: Path) -> None:
    """The second night's files have other names and stamps and the same texts: signed anew, bands from the store."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnop", k=6)) for _ in range(3_000)]
    texts = [draw.choices(words, k=300) for _ in range(24)]
    first = {f"a{n}": " ".join(text) for n, text in enumerate(texts)}
    second = {f"b{n}": " ".join([*text[:-1], "other"]) for n, text in enumerate(texts[5:])}
    folder = tmp_path / "documents"
    folder.mkdir()

    def night(store: str, names: tuple[str, str], stamp: int, threshold: float) -> tuple[Artifact, Artifact]:
        for path in folder.iterdir():
            path.unlink()
        for name, documents in zip(names, (first, second), strict=True):
            lines = [json.dumps({"id": id, "text": text, "day": stamp}) for id, text in documents.items()]
            (folder / name).write_text("\n".join(lines))
        source = {"format": "jsonl", "name": "x", "paths": [str(folder)], "id_column": "id"}
        config = IngestConfig.model_validate(
            {"sources": [{**source, "metadata_columns": ["day"]}], "piece_bytes": 60_000}
        )
        with use_run(Run(Store(tmp_path / store), Resources(workers=1, threads=1), Display(quiet=True))):
            corpus = ingest(fingerprinted(config, None))
            signed = signatures(SignatureConfig(), corpus=corpus)
            verdicts = judge(JudgeRequest(rulesets=()), signals=signals(SignalsConfig(), corpus=corpus), scores=[])
            near = DedupeConfig(near=NearDedupeConfig(threshold=threshold))
            shared = [bands(NoConfig(), signatures=signed)]
            found = dedupe(near, signatures=signed, bands=shared, verdicts=verdicts, addresses=[], scores=[], corpus=[])
        pool.shut_down()
        return signed, found

    before, _ = night("store", ("1.jsonl", "2.jsonl"), 1, 0.8)
    after, found = night("store", ("3.jsonl", "2.jsonl"), 2, 0.75)
    assert before.digest == after.digest
    assert [s.digest for s in before.shards()] == [s.digest for s in after.shards()][::-1]
    _, fresh = night("fresh", ("3.jsonl", "2.jsonl"), 2, 0.75)
    assert found.counts()["near"] == fresh.counts()["near"] > 10
    assert found.digest == fresh.digest
