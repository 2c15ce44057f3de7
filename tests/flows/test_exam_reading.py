"""What a model has read: mixtures, the models that it went on from, and no dependence on the order of shards."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel

from flows.config.loading import ConfigError
from flows.exam_lineage import lineage_of
from lm.ngram.config import NgramConfig
from lm.tokens import tokenize_shard
from tasks.adopt import AdoptConfig, adopt_model
from tasks.exams import kinds as exam_kinds
from tasks.exams.training import all_ids, first_by_hash, text_documents, token_documents
from tasks.ngram import ngram
from tasks.running.progress import Display
from tasks.running.run import Run, use_run
from tasks.stage import NoConfig, Work, stage
from tasks.store import Artifact, Store
from tests.flows.exam_home import QUIET, asked, exam_tokenizer, write_exam
from tests.lm.corpus import write_documents
from tests.lm.exam_models import PROSE

SYLLABLES = [a + b for a in "bdfgklmnprst" for b in "aeiou"]


def document(number: int) -> str:
    """Words of its own, and as many that others have, too."""
    draw = np.random.Generator(np.random.Philox(number))
    words = ["".join(SYLLABLES[at] for at in draw.integers(len(SYLLABLES), size=3)) for _ in range(30)]
    return f"{PROSE[number % 6]} {' '.join(words)}."


class Shards(BaseModel):
    """In which order the two shards of the corpus are."""

    backwards: bool = False
    documents: tuple[int, ...] = tuple(range(30))


class Drawn(BaseModel):
    """How often documents are drawn: those of the numbers once, those of others never."""

    numbers: tuple[int, ...]


@stage(version=1)
def exam_shards(work: Work, config: Shards) -> None:
    """Documents in two shards, with a digest that is of them alone, as that of real corpora."""
    for name, part in (("0.parquet", config.documents[::2]), ("1.parquet", config.documents[1::2])):
        write_documents(work.directory / name, {f"doc-{n:02d}": document(n) for n in part})
    names = ["1.parquet", "0.parquet"] if config.backwards else ["0.parquet", "1.parquet"]
    work.shards = [{"path": name, "digest": name, "counts": {}} for name in names]
    work.digest = "the same documents"


@stage(version=1)
def exam_shard_tokens(work: Work, config: NoConfig, *, corpus: Artifact, tokenizer: Artifact) -> None:
    """The documents in tokens, shard by shard."""
    for shard in corpus.shards():
        tokenize_shard(shard.path, work.directory / shard.path.stem, tokenizer.path)
    work.shards = [{"path": f"{s.path.stem}.bin", "digest": s.path.stem, "counts": {}} for s in corpus.shards()]
    work.digest = "the same tokens"


@stage(version=1)
def exam_two_splits(work: Work, config: NoConfig, *, corpus: Artifact) -> None:
    """All but the last six documents are trained on."""
    ids = sorted(id for shard in corpus.shards() for id in pq.read_table(shard.path)["id"].to_pylist())
    table = {"id": ids, "split": ["train" if n < 24 else "test" for n in range(len(ids))]}
    pq.write_table(pa.table(table), work.directory / "split.parquet")


@stage(version=1)
def exam_mixture(work: Work, config: Drawn) -> None:
    """copies.parquet, with zeros as real ones have them."""
    copies = [int(n in config.numbers) for n in range(30)]
    pq.write_table(
        pa.table({"id": [f"doc-{n:02d}" for n in range(30)], "copies": copies}), work.directory / "copies.parquet"
    )


@stage(version=1)
def exam_continued(
    work: Work, config: NoConfig, *, tokens: Artifact, split: Artifact, init_from: list[Artifact], mixture: Artifact
) -> None:
    """A model that went on from another, as the lineage says; the weights are the same here."""
    shutil.copytree(
        init_from[0].path, work.directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manif*", "_*")
    )
    work.counts |= {"steps": 3, "tokens": 30}


@stage(version=1)
def exam_tuned(work: Work, config: NoConfig, *, model: Artifact) -> None:
    """A model tuned on conversations, which are no documents."""
    shutil.copytree(model.path, work.directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manif*", "_*"))


def run_of(root: Path) -> Run:
    return Run(Store(root / "store"), QUIET, Display(quiet=True))


def inputs(config: Shards) -> dict[str, Any]:
    corpus, tokenizer = exam_shards(config), exam_tokenizer(NoConfig())
    tokens = exam_shard_tokens(NoConfig(), corpus=corpus, tokenizer=tokenizer)
    return {"tokens": tokens, "split": exam_two_splits(NoConfig(), corpus=corpus), "tokenizer": tokenizer}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    return tmp_path


def test_only_what_a_mixture_draws_was_read_and_what_was_read_before_counts_too(here: Path) -> None:
    with use_run(run_of(here)) as run:
        given = inputs(Shards())
        base = ngram(NgramConfig(order=2), **given, mixture=exam_mixture(Drawn(numbers=(0, 1, 2, 29))))
        second = {name: given[name] for name in ("tokens", "split")}
        more = exam_continued(NoConfig(), **second, init_from=[base], mixture=exam_mixture(Drawn(numbers=(2, 5))))
        for name, model in (("base", base), ("more", more), ("tuned", exam_tuned(NoConfig(), model=more))):
            run.store.set_alias(name, model)
        read, unknown = lineage_of(run.store, run.store.resolve("tuned"), "x")
        assert unknown == ()
        assert [sorted(each.ids()) for each in read] == [["doc-02", "doc-05"], ["doc-00", "doc-01", "doc-02"]]
        assert sorted(id for id, _ in text_documents(read)) == sorted(all_ids(read)) == [
            "doc-00", "doc-01", "doc-02", "doc-05"]  # fmt: skip
        assert sorted(id for id, _ in token_documents(read)) == sorted(all_ids(read))
    rows = [{"id": f"of {n}", "text": " ".join(document(n).split()[-20:])} for n in (1, 5, 7)]
    (here / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    leaks = write_exam(here, "leaks", kind="contamination", paths=[str(here / "items.jsonl")])
    found = {model: asked(model, leaks)["exams"][0] for model in ("base", "more", "tuned")}
    assert {model: each["figures"]["found"]["value"] for model, each in found.items()} == {
        "base": pytest.approx(1 / 3), "more": pytest.approx(2 / 3), "tuned": pytest.approx(2 / 3)
    }  # fmt: skip
    assert [found[model]["definition"]["training documents"] for model in ("base", "more")] == [3, 4]
    size = sum(len(ids) for _, ids in token_documents(read[:1]))
    assert found["more"]["definition"]["passes over them"] == [round(30 / size, 3)]
    assert "passes over them" not in found["base"]["definition"]  # n-grams count every document once
    decided = pq.read_table(Store(here / "store").resolve(found["more"]["artifact"]).file("decisions.parquet"))
    assert decided["document"].to_pylist() == ["doc-01", "doc-05", None]


def test_weights_of_outside_are_named_and_what_is_gone_is_an_error(here: Path) -> None:
    with use_run(run_of(here)) as run:
        given = inputs(Shards())
        model = ngram(NgramConfig(order=2), **given)
        adopted = adopt_model(AdoptConfig.of(shutil.copytree(model.path, here / "copy")))
        second = {name: given[name] for name in ("tokens", "split")}
        more = exam_continued(NoConfig(), **second, init_from=[adopted], mixture=exam_mixture(Drawn(numbers=(1,))))
        run.store.set_alias("more", more)
        with pytest.raises(
            ConfigError, match=r"x: asks about the training documents, and the lineage of adopt_model/.* "
        ):
            lineage_of(run.store, adopted, "x")
    small = {"unprompted": 1, "prompted": 1, "prompt_tokens": 4, "tokens": 9, "span": 3, "words": False}
    memory = write_exam(here, "memory", kind="memorised", **small)
    [found] = asked("more", memory)["exams"]
    assert found["definition"]["training documents"] == 1
    assert found["definition"]["not known"] == f"what {adopted.name} learned from"
    shutil.rmtree(adopted.path)
    with pytest.raises(ConfigError, match=r"memory: the init_from that exam_continued/.* no longer in the store"):
        asked("more", memory)


def test_the_order_of_shards_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exam_kinds, "DOCUMENTS", 10)
    (tmp_path / "items.jsonl").write_text(json.dumps({"text": " ".join(document(3).split()[:14])}))
    exams = [
        write_exam(tmp_path, "formats", kind="patterns", items=2, shots=[0, 1]),
        write_exam(tmp_path, "memory", kind="memorised", unprompted=2, prompted=3, prompt_tokens=4, tokens=9, span=3),
        write_exam(tmp_path, "leaks", kind="contamination", paths=[str(tmp_path / "items.jsonl")]),
    ]
    digests = []
    for backwards in (False, True):
        home = tmp_path / f"backwards-{backwards}"
        monkeypatch.setenv("TEXTMILL_HOME", str(home))
        with use_run(run_of(home)) as run:
            run.store.set_alias("model", ngram(NgramConfig(order=2), **inputs(Shards(backwards=backwards))))
        made = [run.store.resolve(each["artifact"]) for each in asked("model", *exams)["exams"]]
        digests.append([(each.key, each.digest) for each in made])
    assert digests[0] == digests[1]


def test_some_documents_are_the_same_whatever_else_there_is() -> None:
    ids = {f"doc-{n}" for n in range(100)}
    some = first_by_hash(ids, 20)
    assert len(some) == 20
    assert first_by_hash(ids, 10) < some == first_by_hash(ids, 20)
    assert first_by_hash(ids, 1000) == ids
    assert first_by_hash(ids | {"another"}, 20) <= some | {"another"}
