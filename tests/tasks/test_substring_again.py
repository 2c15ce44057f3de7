"""An earlier result is a hint for exact substrings too; documents may be cut into other shards than their windows."""

import json
import random
from pathlib import Path

from data_quality.config import IngestConfig, SubstringConfig
from tasks.ingest import fingerprinted, ingest
from tasks.running import pool
from tasks.running.journal import JOURNAL, history
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import RUN_DIRECTORY, Artifact, Store
from tasks.substring import substring, windows
from tests.tasks.tiny_corpus import prose


def write(path: Path, names: list[str], quoting: str) -> None:
    """Documents that quote one paragraph."""
    path.parent.mkdir(exist_ok=True)
    draw = random.Random(path.name)
    quoted = prose(random.Random(1), "harbours", 8)
    records = [{"id": name, "text": f"{prose(draw, 'gardens', 5)}\n\n{quoted * (name in quoting)}"} for name in names]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def night(store: Path, folder: Path, max_bytes: int = 1 << 20, within_document: bool = False) -> Artifact:
    source = {"format": "jsonl", "name": "pages", "paths": [str(folder)], "id_column": "id"}
    reading = IngestConfig.model_validate({"sources": [source], "shards": {"max_bytes": max_bytes}})
    with use_run(Run(Store(store), Resources(workers=1, threads=1), Display(quiet=True))):
        corpus = ingest(fingerprinted(reading))
        config = SubstringConfig(enabled=True, within_document=within_document)
        found = substring(
            config, corpus=corpus, windows=windows(config.window, corpus=corpus), verdicts=[], duplicates=[]
        )
    pool.shut_down()
    return found


def solved(artifact: Artifact) -> float:
    return history(artifact.path / RUN_DIRECTORY / JOURNAL)["solved"][0][1]


def test_the_digest_is_the_same_with_and_without_an_earlier_result(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    write(folder / "old.jsonl", list("abcdefghijkl"), quoting="bk")
    earlier = night(tmp_path / "store", folder)
    write(folder / "new.jsonl", ["m", "n"], quoting="m")
    again = night(tmp_path / "store", folder)
    whole = night(tmp_path / "other", folder)
    assert (again.key, again.digest, again.counts()) == (whole.key, whole.digest, whole.counts())
    assert again.key != earlier.key
    assert (earlier.counts()["spans"], again.counts()["spans"]) == (1, 2)
    assert solved(whole) == whole.counts()["documents"] == 14
    assert 2 <= solved(again) <= 4  # the new ones, and those that quote the same, if the new one is the longest


def test_a_result_of_another_config_is_no_hint(tmp_path: Path) -> None:
    write(tmp_path / "documents" / "old.jsonl", list("abcdef"), quoting="ab")
    night(tmp_path / "store", tmp_path / "documents", within_document=True)
    assert solved(night(tmp_path / "store", tmp_path / "documents")) == 6


def test_two_corpora_in_turn_are_each_gone_on_from(tmp_path: Path) -> None:
    def both() -> list[float]:
        return [solved(night(tmp_path / "store", tmp_path / name, max_bytes=3_000)) for name in "xy"]

    for name in "xy":
        write(tmp_path / name / "1.jsonl", [f"{name}{number}" for number in range(40)], quoting="")
    assert both() == [40, 40]
    for name in "xy":
        write(tmp_path / name / "2.jsonl", [f"{name}-new"], quoting="")
    assert both() == [1, 1]


def test_the_same_documents_in_other_shards_have_the_windows_that_are_there(tmp_path: Path) -> None:
    """The corpus has the digest that it had, so its windows are found; they are cut as it was then."""
    write(tmp_path / "documents" / "old.jsonl", list("abcdefghijkl"), quoting="bk")
    first = night(tmp_path / "store", tmp_path / "documents")
    second = night(tmp_path / "store", tmp_path / "documents", max_bytes=3_000, within_document=True)
    cuts = sorted(len(corpus.shards()) for corpus in Store(tmp_path / "store").list("ingest"))
    assert cuts[0] == 1 < cuts[1]
    assert second.key != first.key
    assert second.file("spans.parquet").read_bytes() == first.file("spans.parquet").read_bytes()
