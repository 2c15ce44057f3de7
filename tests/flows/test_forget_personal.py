"""Documents whose ids hold personal data: `forget`, `trace` and `why` take the source's own id and the written one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_quality.errors import UsageError
from flows.commands.clean import clean, clean_config
from flows.commands.forget import forget
from flows.commands.trace import trace
from flows.commands.why import describe, why
from tasks.running import pool
from tasks.storage.shared import open_store
from tests.flows.test_personal_names import JANE, QUICK, SOURCE, mails

KEY = "a key of a test that is long enough"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    (tmp_path / f"{JANE}.jsonl").write_text("\n".join(map(json.dumps, mails())))
    yield tmp_path
    pool.shut_down()


def kept_ids(home: Path, out: str, **changes: str) -> set[str]:
    """Clean the mails; the ids of all that was read."""
    source = {"ingest.sources": json.dumps([SOURCE | {"paths": [str(home / f"{JANE}.jsonl")]}])}
    clean(clean_config([], None, QUICK | source | changes, None), str(home / out), quiet=True)
    tables = [*(home / out / "kept").glob("*.parquet"), *(home / out / "dropped").glob("*.parquet")]
    return {id for table in tables for id in pq.read_table(table)["id"].to_pylist()}


def test_the_sources_own_id_is_enough(home: Path) -> None:
    before = kept_ids(home, "before")
    own, other = f"2.{JANE}", f"3.{JANE}"
    written = why(own, None)["document"]
    assert trace(own)["data"] == trace(written)["data"] != []

    marked = forget([own], [], "", with_twins=False, unseen=False)
    assert (marked["documents"], marked["ids"]) == (1, [written])
    assert marked["data"]
    for id in (own, written):
        assert f"request {marked['request']}" in why(id, None)["request"]
        assert f"request {marked['request']}" in trace(id)["request"]
    assert forget([why(other, None)["document"]], [], "", with_twins=False, unseen=False)["documents"] == 1
    assert trace(other)["request"]

    after = kept_ids(home, "after")
    assert before - after == {written, why_gone(other)}
    made = json.loads((home / "after" / "manifest.json").read_text())
    assert (made["skipped"], made["skip_examples"]) == ({"forgotten": 2}, [])
    for id in (own, written):
        answer = why(id, None)
        assert (answer["reason"], answer["document"]) == ("forgotten", written)
        assert f"request {marked['request']}" in answer["request"]
        assert JANE not in describe(answer)
    for manifest in open_store().artifacts.glob("*/*/manifest.json"):
        assert JANE not in manifest.read_text()


def why_gone(id: str) -> str:
    answer = why(id, None)
    assert answer["reason"] == "forgotten"
    return str(answer["document"])


def test_hashed_ids_ask_for_their_key_and_no_others_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_PII_KEY", KEY)
    kept_ids(home, "out", **{"pii.style": "hashed"})
    written = why(f"2.{JANE}", None)["document"]
    monkeypatch.delenv("TEXTMILL_PII_KEY")
    assert trace(written)["data"]
    for ask in (trace, lambda id: why(id, None), lambda id: forget([id], [], "", with_twins=False, unseen=False)):
        with pytest.raises(UsageError, match="secret key"):
            ask(f"2.{JANE}")
    assert forget([written], [], "", with_twins=False, unseen=False)["documents"] == 1


def test_a_source_whose_name_is_hidden_goes_with_all_its_documents(home: Path) -> None:
    source = {"format": "jsonl", "name": JANE, "paths": [str(home / f"{JANE}.jsonl")], "source_column": "from"}
    (home / f"{JANE}.jsonl").write_text(
        "\n".join(json.dumps({"text": text, "from": sender}) for text, sender in [("One.", "a"), ("Two.", "b")])
    )
    clean(clean_config([], None, QUICK | {"ingest.sources": json.dumps([source])}, None), str(home / "out"), quiet=True)
    assert forget([], [JANE], "", with_twins=False, unseen=False)["documents"] == 2
