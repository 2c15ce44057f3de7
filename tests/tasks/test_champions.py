"""Champion and challenger in a real MLflow registry (SQLite, in this process)."""

from typing import Any

import pytest
from mlflow import MlflowClient

from tasks.running.run import Run
from tasks.store import Store
from tasks.tracking import shipper
from tasks.tracking.champions import NoContest, note_outcome, promote, versions
from tests.tasks.journals import Pipeline
from tests.tasks.stages import NumbersConfig, numbers

MODEL = "mill"


def registered(store: Store, client: MlflowClient, run: Run, *counts: int) -> None:
    """A version for each artifact `numbers` of so many, the last with the alias `newest`."""
    pipeline = Pipeline(store)
    for count in counts:
        made = numbers(NumbersConfig(count=count))
        journal = pipeline.stage("pretrain", f"{count}" * 32)
        tags = {"textmill.stage": made.stage, "textmill.artifact": made.key}
        journal.start(name="pretrain", parent=pipeline.directory.name, tags=tags, params={})
        journal.write("model", name=MODEL, alias="newest", path=str(made.path), key=made.key, params={"n": count})
        journal.write("end", status="FINISHED")
        shipper.ship_run(store, pipeline.directory, client)


def pair(client: MlflowClient, store: Store, flow_run: str | None = None) -> Any:
    return versions(client, store, MODEL, "champion", "newest", flow_run)


def test_from_no_model_to_a_second_champion(store: Store, client: MlflowClient, run: Run) -> None:
    with pytest.raises(NoContest, match="MLflow has no registered model 'mill': pretrain one"):
        pair(client, store)
    registered(store, client, run, 1)
    with pytest.raises(NoContest, match=r"no version of 'mill' has the alias 'best': it has newest \(version 1\)"):
        versions(client, store, MODEL, "champion", "best", None)
    first = pair(client, store)
    assert first.champion is None
    assert first.challenger.artifact == numbers(NumbersConfig(count=1))
    assert promote(client, MODEL, "champion", first)
    assert pair(client, store) is None

    registered(store, client, run, 2)
    second = pair(client, store)
    assert (second.champion.number, second.challenger.number) == ("1", "2")
    assert promote(client, MODEL, "champion", second)
    assert promote(client, MODEL, "champion", second)  # as one does who was killed after the first time
    note_outcome(client, MODEL, "2", "promoted")
    assert client.get_model_version(MODEL, "2").tags["textmill.contest.outcome"] == "promoted"


def test_a_suspended_contest_goes_on_with_the_same_two(store: Store, client: MlflowClient, run: Run) -> None:
    registered(store, client, run, 1, 2)
    client.set_registered_model_alias(MODEL, "champion", "1")
    begun = pair(client, store, "run-a")
    registered(store, client, run, 3)
    assert pair(client, store, "run-a") == begun
    other = pair(client, store, "run-b")
    assert (other.champion.number, other.challenger.number) == ("1", "3")

    assert promote(client, MODEL, "champion", other)
    assert not promote(client, MODEL, "champion", begun)  # it was compared with version 1
    assert str(client.get_model_version_by_alias(MODEL, "champion").version) == "3"


def test_a_contest_without_a_champion_loses_to_one_that_was_set_meanwhile(
    store: Store, client: MlflowClient, run: Run
) -> None:
    registered(store, client, run, 1, 2)
    alone = pair(client, store, "run-a")
    client.set_registered_model_alias(MODEL, "champion", "1")
    assert pair(client, store, "run-a") == alone
    assert not promote(client, MODEL, "champion", alone)


def test_a_model_that_is_gone_is_named(store: Store, client: MlflowClient, run: Run) -> None:
    registered(store, client, run, 1)
    made = numbers(NumbersConfig(count=1))
    store.move_aside(made.path)
    with pytest.raises(NoContest, match=rf"version 1 of 'mill' is numbers/{made.key[:12]}, which is not in the store"):
        pair(client, store)
