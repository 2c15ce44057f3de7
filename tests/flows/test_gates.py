"""Gates in the flow, and the differences they would have shown: a refresh that goes wrong ends before the tokenizer."""

from pathlib import Path
from typing import Any

import pytest

from flows.commands.diff import diff
from flows.corpus import build_corpus
from tasks.profile import PROFILE, GateClosed
from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.storage.files import read_json
from tasks.store import Store
from tests.tasks.tiny_corpus import configuration, write_documents


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Build the corpus as the documents now are; returns what was made."""
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))

    def build(**changes: Any) -> Any:
        with use_run(Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
            settings = configuration(tmp_path / "documents", **changes)
            return build_corpus(settings.model_copy(update={"max_files": None}))  # a sample has no gates

    write_documents(tmp_path / "documents")
    yield build
    pool.shut_down()


def test_a_source_that_shrank_ends_the_refresh_until_it_is_accepted(build: Any, tmp_path: Path) -> None:
    first = build()
    assert build().kept == first.kept
    for path in sorted((tmp_path / "documents" / "gardens").glob("*.txt"))[5:]:
        path.unlink()
    with pytest.raises(GateClosed, match=r"source gardens went from \d+ to 5 documents(.|\n)*gates.enabled=false"):
        build()
    assert not list((tmp_path / "store" / "artifacts" / "split").iterdir())[1:]  # nothing was built on it
    second = build(gates={"enabled": False})
    assert build().kept == second.kept

    found = diff(first.kept.name, second.kept.name, tmp_path / "changes.parquet", examples=2)
    changes = {row["change"]: row for row in found["changes"]}
    assert changes["gone, was kept"]["documents"] >= 18
    assert changes["gone, was kept"]["examples"][0].startswith("gardens:")
    assert len(changes["gone, was kept"]["examples"]) == 2
    assert found["unchanged"] > 20
    assert (tmp_path / "changes.parquet").stat().st_size > 0
    flipped = [row for row in found["changes"] if row["change"] == "kept now"]
    assert [row["reason_before"] for row in flipped] == ["duplicate.exact"]  # its twin is gone


def test_the_same_documents_dropped_for_another_reason_are_another_profile(build: Any) -> None:
    rules = {"rulesets": ["gopher_repetition", "gopher_quality"]}
    first = build(rules=rules)
    listed = rules | {"drop": {"ids": ["gardens:short.txt"]}}  # which the rules drop as well
    with pytest.raises(GateClosed, match=r"list\.drop dropped 0\.0% of the documents and now drops 1\.\d%"):
        build(rules=listed, gates={"drop_rate": 0.01})
    second = build(rules=listed, gates={"enabled": False})
    assert second.kept.digest == first.kept.digest
    assert second.split == first.split  # nothing that reads kept documents only is built again
    before, after = (read_json(made.profile.file(PROFILE))["reasons"] for made in (first, second))
    assert sum(after.values()) == sum(before.values())
    assert after.get("list.drop") == 1
    assert read_json(build(rules=rules, gates={"enabled": False}).profile.file(PROFILE))["reasons"] == before
