"""The list of what is to be forgotten, and what garbage collection makes of it."""

import uuid
from pathlib import Path

import pytest

from data_quality.forgotten import Forgotten
from tasks.lineage.forgotten import ask, forgotten, note, noted, request_for, requests, standing, withdraw
from tasks.lineage.gc import find_garbage
from tasks.running.run import Run
from tasks.storage.files import read_json
from tasks.storage.shared import SharedStore
from tasks.store import Store, StoreError
from tests.tasks.test_gc import age_all, chain, names


def test_the_list_only_grows(store: Store) -> None:
    assert forgotten(store) == Forgotten()
    first = ask(store, ["b", "a", "a"], [], "ticket 7")
    second = ask(store, ["c"], ["mail"], "")
    assert forgotten(store) == Forgotten(ids=("a", "b", "c"), sources=("mail",))
    before = {path.name: path.read_bytes() for path in (store.root / "forgotten").iterdir()}
    withdraw(store, second.name, "by mistake")
    assert forgotten(store) == Forgotten(ids=("a", "b"))
    after = {path.name: path.read_bytes() for path in (store.root / "forgotten").iterdir()}
    assert after.items() >= before.items()
    assert len(after) == 3
    assert [request.withdraws for request in requests(store)] == [None, None, second.name]
    assert [request.name for request in standing(store)] == [first.name]
    assert "ticket 7" in str(first)
    assert first.by in str(first)
    with pytest.raises(StoreError, match="no request 'x' stands"):
        withdraw(store, "x", "")
    with pytest.raises(StoreError, match="stands"):
        withdraw(store, second.name, "again")


def test_a_request_is_found_by_what_it_names(store: Store) -> None:
    record, file, source = (
        ask(store, ["docs:a.txt#3"], [], ""),
        ask(store, ["docs:b.txt"], [], ""),
        ask(store, [], ["mail"], ""),
    )
    assert request_for(standing(store), "docs:a.txt#3") == record
    assert request_for(standing(store), "docs:a.txt#4") is None
    assert request_for(standing(store), "docs:b.txt#9") == file
    assert request_for(standing(store), "mail:inbox#1") == source
    assert request_for(standing(store), "17", source="mail") == source


def test_machines_of_one_store_have_one_list(tmp_path: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    one, other = SharedStore(tmp_path / "one", url), SharedStore(tmp_path / "other", url)
    asked = ask(one, ["a"], [], "")
    assert forgotten(other) == Forgotten(ids=("a",))
    withdraw(other, asked.name, "")
    assert forgotten(one) == Forgotten()


def test_what_was_retired_goes_though_a_run_used_it(run: Run, tmp_path: Path) -> None:
    """Neither as a root nor through what is made of it: `total` stays, and what it was made from does not."""
    source, squared, _ = chain()
    run.store.set_alias("kept", chain()[2])
    age_all(run.store)
    assert names(run.store) == set()
    asked = ask(run.store, ["x"], [], "")
    record = {"artifacts": [{"stage": a.stage, "key": a.key} for a in (source, squared)]}
    note(run.store, asked, "derived", record)
    assert names(run.store) == set()  # marked, and still in use
    note(run.store, asked, "retired", record)
    assert noted(run.store, "retired") == {(a.stage, a.key): asked.name for a in (source, squared)}
    assert names(run.store) == {"numbers", "squares", "squares.shard"}
    run.store.set_alias("again", squared)  # named anew: in use, whatever the list says
    assert names(run.store) == {"numbers"}
    run.store.remove_alias("again")
    withdraw(run.store, asked.name, "")
    assert names(run.store) == set()
    assert find_garbage(run.store, keep_runs=0, grace_seconds=0.0)[0].kind == "lock"
    assert read_json(run.store.root / "forgotten" / f"{asked.name}.json")["ids"] == ["x"]
