"""Nothing personal leaves the mill, and no benchmark item is trained on: canaries are looked for in what was made."""

import json
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_quality.hashing import text_hash
from flows.commands.why import describe, why
from flows.corpus import Corpus, build_corpus
from flows.pretrain import build_tokens
from lm.tokenizer import load_tokenizer
from lm.tokens import build_index
from tasks.labelled import labelled
from tasks.pii import pii_request
from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.running.tables import rows
from tasks.store import Artifact, Store
from tasks.tokenizer import token_stems
from tests.tasks import asking
from tests.tasks.tiny_corpus import configuration, prose, write_documents

CANARIES = {
    "email": "canary.bird@aviary.example",
    "phone": "(212) 555-0187",
    "ip": "66.231.133.63",
    "credit_card": "4111 1111 1111 1111",
    "iban": "DE89370400440532013000",
    "cn_id": "11010519491231002X",
    "cn_mobile": "13812345678",
    "us_ssn": "123-45-6789",
}
SENTENCE = (
    "Write to {email} or call {phone} from {ip}, pay {credit_card} or {iban}, 身份证{cn_id}手机{cn_mobile}, {us_ssn}."
)
ITEM = "The lantern keeper counted nineteen gulls upon the quay before the evening storm took the buoy away."


def write(root: Path) -> None:
    """The tiny corpus with the canaries in every document, kept or dropped, and in records that become no document."""
    write_documents(root)
    for path in root.rglob("*.txt"):
        content = path.read_bytes()
        if content and path.name != "broken.txt":
            path.write_text(f"{path.read_text()}\n\n{SENTENCE.format(**CANARIES)}")
        elif content:
            path.write_bytes(content + SENTENCE.format(**CANARIES).encode())
    draw = random.Random(7)
    (root / "harbours" / "quiz.txt").write_text(f"{prose(draw, 'harbours')} {ITEM.upper()} {prose(draw, 'harbours')}")
    (root / "quiz.jsonl").write_text(json.dumps({"question": ITEM}))


def build(tmp_path: Path, action: str, **pii: object) -> tuple[Corpus, list[Artifact], Store]:
    """The data half of the pipeline."""
    documents = tmp_path / "documents"
    write(documents)
    benchmark = {"name": "quiz", "paths": [str(documents / "quiz.jsonl")]}
    config = configuration(documents, pii=pii, decontaminate={"benchmarks": [benchmark], "action": action})
    assert config.task is not None
    store = Store(tmp_path / "store")
    with use_run(Run(store, Resources(workers=1, threads=1), Display(quiet=True))):
        corpus = build_corpus(config)
        tokens = build_tokens(config, corpus)
        examples = labelled(config.task, corpus=corpus.kept, split=corpus.split)
    pool.shut_down()
    return corpus, [tokens.tokenizer, tokens.tokens, examples], store


def everything_in(artifact: Artifact) -> str:
    """All that can be read in an artifact and its parts: bytes of their files, and the values of their tables."""
    directories = (artifact.path, *artifact.part_directories())
    said = []
    for path in sorted(path for directory in directories for path in directory.rglob("*")):
        if path.suffix == ".parquet":
            said.append(str(pq.read_table(path).to_pylist()))
        elif path.is_file():
            said.append(path.read_bytes().decode("utf-8", "replace"))
    return "\n".join(said)


def leaked(said: str) -> list[str]:
    return [category for category, value in CANARIES.items() if value in said]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, list[Artifact], Store]:
    return build(tmp_path_factory.mktemp("leaks"), "drop")


def test_no_canary_leaves(made: tuple[Corpus, list[Artifact], Store]) -> None:
    corpus, after, _ = made
    inside = rows("SELECT text FROM read_parquet(?)", [[str(shard.path) for shard in corpus.normalized.shards()]])
    assert set(leaked(str(inside))) == set(CANARIES)  # the mill's inside keeps the text
    decided = (corpus.verdicts, corpus.duplicates, *corpus.found, corpus.decisions)
    for artifact in (*decided, corpus.kept, corpus.split, *after):
        assert leaked(everything_in(artifact)) == [], artifact.name
    for view in (asking.kept(corpus), asking.dropped(corpus)):
        texts = rows("SELECT text FROM read_parquet(?)", view)
        assert texts
        for category in CANARIES:
            assert any(f"<{category}>" in row["text"] for row in texts), (view, category)


def test_no_canary_is_among_the_tokens(made: tuple[Corpus, list[Artifact], Store]) -> None:
    _, [tokenizer, tokens, _], _ = made
    index = build_index(token_stems(tokens))
    text = load_tokenizer(tokenizer.path).decode(np.concatenate(index.open()).tolist(), skip_special_tokens=False)
    assert "<email>" in text
    assert leaked(text) == []


def test_records_that_were_skipped_do_not_quote_their_text(made: tuple[Corpus, list[Artifact], Store]) -> None:
    _, _, store = made
    [ingest] = [artifact for artifact in store.list() if artifact.stage == "ingest"]
    parts = [store.artifacts / part["stage"] / part["key"] for part in ingest.manifest()["parts"]]
    skipped = [pq.read_table(path / "skipped.parquet").to_pylist() for path in parts]
    assert any(skipped)
    assert leaked(str(skipped)) == []


def test_hashes_and_counts_are_those_of_the_text_that_leaves(made: tuple[Corpus, list[Artifact], Store]) -> None:
    corpus, _, _ = made
    kept = rows("SELECT id, text, text_hash FROM read_parquet(?)", asking.kept(corpus))
    assert all(row["text_hash"] == text_hash(row["text"]) for row in kept)
    decisions = rows("FROM read_parquet(?)", asking.decided(corpus))
    counted = next(row for row in decisions if row["id"] == kept[0]["id"])["span_counts"]
    assert counted == {f"pii.{category}": 1 for category in sorted(CANARIES)}


def test_a_document_with_a_benchmark_item_is_dropped_and_why_says_so(
    made: tuple[Corpus, list[Artifact], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, _, store = made
    monkeypatch.setenv("TEXTMILL_HOME", str(store.root.parent))
    dropped = rows(
        "SELECT id, reason, reasons FROM read_parquet(?) WHERE contains(id, 'quiz')",
        asking.dropped(corpus),
    )
    assert [(row["reason"], row["reasons"]) for row in dropped] == [("contaminated.quiz", ["contaminated.quiz"])]
    said = describe(why(dropped[0]["id"], corpus.kept.name))
    assert "shares a row of words with quiz#quiz.jsonl:1/question (characters " in said
    other = rows("SELECT id FROM read_parquet(?) ORDER BY id LIMIT 1", asking.kept(corpus))
    said = describe(why(other[0]["id"], corpus.kept.name))
    assert "1 pii.email" in said
    assert leaked(said) == []


def test_a_benchmark_item_is_cut_out_of_a_kept_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, _, store = build(tmp_path, "cut")
    [row] = rows(
        "SELECT id, text FROM read_parquet(?) WHERE contains(id, 'quiz')",
        asking.kept(corpus),
    )
    assert "LANTERN KEEPER" not in row["text"]
    assert len(row["text"]) > 100
    monkeypatch.setenv("TEXTMILL_HOME", str(store.root.parent))
    answer = why(row["id"], corpus.kept.name)
    [shared] = answer["contamination"]
    assert shared["item"] == "quiz#quiz.jsonl:1/question"
    assert 0 <= shared["start"] < shared["end"]
    assert "shares a row of words with quiz#quiz.jsonl:1/question (characters " in describe(answer)


def test_the_key_of_hashed_replacements_is_on_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "a secret that nobody may read"
    monkeypatch.setenv("TEXTMILL_PII_KEY", secret)
    corpus, _, store = build(tmp_path, "drop", style="hashed")
    assert secret not in "".join(
        p.read_bytes().decode("utf-8", "replace") for p in store.root.rglob("*") if p.is_file()
    )
    [phone] = rows(  # the same number in every document
        "SELECT DISTINCT replacement FROM read_parquet(?) WHERE kind = 'pii.phone'",
        [[str(shard.path) for shard in corpus.found[0].shards()]],
    )
    assert phone["replacement"].startswith("<phone:")
    config = configuration(tmp_path / "documents", pii={"style": "hashed"}).pii
    before = pii_request(config)
    monkeypatch.setenv("TEXTMILL_PII_KEY", secret[::-1])
    assert pii_request(config) != before
    monkeypatch.delenv("TEXTMILL_PII_KEY")
    with pytest.raises(ValueError, match="TEXTMILL_PII_KEY"):
        pii_request(config)
