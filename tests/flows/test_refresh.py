"""A refresh pretrains when enough has changed since the last model, and says what it went by."""

import random
import shutil
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.config.pipeline import PipelineConfig
from flows.corpus import build_corpus
from flows.pretrain import build_tokens, remember_pretrained
from flows.refresh import decide_pretraining, follow_up
from tasks.change import read_decision
from tasks.lineage.gc import find_garbage
from tasks.profile import GateClosed
from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Artifact, Store
from tests.tasks.tiny_corpus import configuration, prose, write_documents

pytestmark = pytest.mark.heavy

Night = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with documents, their corpus and a model of it; tests work on copies."""
    root = tmp_path_factory.mktemp("trained")
    write_documents(root / "documents")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEXTMILL_HOME", str(root))
        first = one_night(root)
    assert first["reason"] == "no model of this corpus has been pretrained yet"
    assert first["model"].startswith("pretrain/")
    pool.shut_down()
    return root


@pytest.fixture
def root(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True, copy_function=shutil.copy2)
    return tmp_path


def settings(root: Path, above: float | None = 0.2, until: date | None = None, **changes: Any) -> PipelineConfig:
    config = configuration(root / "documents", refresh={"pretrain_above": above}, **changes)
    ingest = config.ingest.model_copy(update={"until": until})
    return config.model_copy(update={"max_files": None, "ingest": ingest})


def one_night(root: Path, train: bool = True, **given: Any) -> dict[str, Any]:
    """One night: the corpus as the documents now are, the decision, and the training if it comes to that."""
    config = settings(root, **given)
    with use_run(Run(Store(root / "store"), Resources(workers=1, threads=1), Display(quiet=True))) as run:
        corpus = build_corpus(config)
        if not train:
            decision = decide_pretraining(config, corpus)
            return {} if decision is None else read_decision(decision)
        made = follow_up(config, corpus, build_tokens(config, corpus))
        return made | {"stages": {record.stage for record in run.records if record.state == "built"}}


@pytest.fixture
def night(root: Path) -> Any:
    yield partial(one_night, root)
    pool.shut_down()


def add(root: Path, night: int) -> None:
    draw = random.Random(night)
    for number in range(3):
        (root / "documents" / "gardens" / f"new-{night}-{number}.txt").write_text(prose(draw, "gardens"))


def test_small_changes_add_up_until_a_model_is_due(root: Path, night: Night) -> None:
    """Measured is from the last model on, not from the last night: what no single night changes, several do."""
    assert night(above=0.0) == {**night(above=0.0), "stages": {"corpus_change"}}
    found = night(train=False, above=0.0)
    assert (found["share"], found["pretrain"]) == (0.0, False)

    add(root, 1)
    first = night(train=False, above=0.0)
    assert first["pretrain"]
    assert first["share"] == (first["new"]["bytes"] + first["gone"]["bytes"]) / first["bytes_before"] > 0
    above = 1.1 * first["share"]
    assert f"not more than {above:.2%}" in night(train=False, above=above)["reason"]
    add(root, 2)
    second = night(train=False, above=above)
    assert second["pretrain"]
    assert second["share"] > above
    made = night(above=above)
    assert {"tokenize", "pretrain", "evaluate"} <= made["stages"]
    assert night(train=False, above=0.0)["share"] == 0.0


def test_who_asks_for_no_model_gets_none(root: Path, night: Night) -> None:
    assert night(train=False, above=None) == {}
    assert night(train=False, until=date(2026, 1, 1)) == {}


def test_what_the_last_model_read_is_kept_for_the_next_decision(root: Path) -> None:
    store = Store(root / "store")
    assert store.aliased("pretrained-tiny") is not None
    gone = {item.path.parent.name for item in find_garbage(store, keep_runs=0, grace_seconds=0)}
    assert not gone & {"filter_corpus", "split", "tokenize", "pretrain"}


def test_a_past_day_is_built_beside_the_living_corpus(root: Path) -> None:
    """No gate is asked, none is moved: the next night is compared with the last one, not with the past."""
    gardens = root / "documents" / "gardens"
    for number in range(4, 25):
        (gardens / f"{number:02d}.txt").rename(gardens / f"2026-11-{number:02d}.txt")
    with use_run(Run(Store(root / "store"), Resources(workers=1, threads=1), Display(quiet=True))) as run:
        accepted = run.store.aliased("accepted-tiny")
        past = build_corpus(settings(root, until=date(2026, 11, 5)))
        ids = [id for shard in past.kept.shards() for id in pq.read_table(shard.path)["id"].to_pylist()]
        assert {"gardens:00.txt", "gardens:2026-11-05.txt"} <= set(ids)
        assert "gardens:2026-11-06.txt" not in ids
        assert run.store.aliased("accepted-tiny") == accepted
        for path in sorted(gardens.glob("2026-11-*.txt"))[2:]:
            path.unlink()
        with pytest.raises(GateClosed, match="source gardens went from"):
            build_corpus(settings(root))
    pool.shut_down()


def test_a_model_whose_corpus_is_gone_counts_as_none(root: Path, night: Night) -> None:
    store = Store(root / "store")
    model = store.aliased("pretrained-tiny")
    assert model is not None
    [tokens] = model.manifest()["inputs"]["tokens"]
    found = store.find(tokens["stage"], tokens["key"])
    assert found is not None
    [corpus] = found.manifest()["inputs"]["corpus"]
    add(root, 1)  # so that another corpus stands in its place
    store.move_aside(store.artifacts / corpus["stage"] / corpus["key"])
    assert night(train=False, gates={"enabled": False})["reason"] == "no model of this corpus has been pretrained yet"


def test_only_a_model_of_the_whole_corpus_is_remembered(root: Path) -> None:
    store = Store(root / "store")
    before = store.aliased("pretrained-tiny")
    assert before is not None
    other = Artifact(before.stage, "0" * 32, "", before.path)
    with use_run(Run(store, Resources(workers=1, threads=1), Display(quiet=True))):
        remember_pretrained(configuration(root / "documents"), other)  # smoke: a sample
        remember_pretrained(settings(root, until=date(2026, 1, 1)), other)
    assert store.aliased("pretrained-tiny") == before
