"""An earlier result is a hint: it saves work and changes neither key nor content."""

from pathlib import Path

from data_quality.config import DedupeConfig, NearDedupeConfig
from tasks import pool
from tasks.bands import bands
from tasks.dedupe import dedupe
from tasks.filter import JudgeRequest, judge
from tasks.ingest import fingerprinted, ingest
from tasks.journal import JOURNAL, history
from tasks.normalize import normalize
from tasks.progress import Display
from tasks.run import Resources, Run, use_run
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


def test_a_result_of_another_config_is_no_hint(tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    write_documents(documents)
    deduped(tmp_path / "store", documents, DedupeConfig(near=NearDedupeConfig(threshold=0.5)))
    second = deduped(tmp_path / "store", documents, DedupeConfig())
    assert solved(second) == second.counts()["documents"]
