"""The Prefect server is killed while a stage runs, and is back before or after the flow has ended."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.server_faults import DRIVER, ServedHome, answered, left_running, wait_until


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHome]:
    home = ServedHome(tmp_path_factory.mktemp("outage"))
    try:
        home.ensure("prefect")
        yield home
    finally:
        home.down()


@pytest.mark.server
def test_a_server_that_is_killed_leaves_no_run_running(served: ServedHome) -> None:
    released = served.folder / "released"
    lasting = served.start(*DRIVER, "run", HELD_UNTIL=str(released))
    wait_until(lambda: "slow" in served.calls(), lasting)
    served.kill("prefect")
    released.touch()
    output, _ = lasting.communicate()  # it ends while nobody listens
    assert lasting.returncode != 0, output[-2000:]
    served.ensure("prefect")

    after = served.reconciled()
    assert left_running(after) == []
    assert after["tokens"] == []  # its process had ended by itself
    served.finish(*DRIVER, "run")
    states = served.reconciled()
    while len(states["states"][-1]["tasks"]) < 2:  # it hears of tasks by events
        states = served.reconciled()
    assert [state["flow"] for state in states["states"]][-1] == "Completed"
    assert states["states"][-1]["tasks"] == {"numbers": "Cached", "slow": "Cached"}  # finished without the server
    assert served.calls() == ["numbers", "slow"]
    assert left_running(states) == []
    assert not list((served.folder / "store" / "partial").iterdir())


@pytest.mark.server
def test_a_run_that_lives_says_so_after_an_outage_and_a_dead_one_is_crashed(served: ServedHome) -> None:
    found = through_an_outage(served, "missed")
    assert found["counted"]  # it was `Crashed` after the server was back, before any beat had come
    assert once(found["living"]) == ["Pending", "Running", "Crashed", "Running", "Completed"]
    assert set(found["log"]) == {
        "the server had missed this run's heartbeats and set it to Crashed; it is Running again"
    }
    assert found["dead"] == ["Running", "Crashed"]
    assert found["said"].startswith("No heartbeat for 10 s: its process is gone.")
    assert found["others"] == ["Running"]  # of somebody else, on the same server


@pytest.mark.server
def test_a_deployed_run_keeps_its_place_while_the_server_starts_again(served: ServedHome) -> None:
    """With leases in memory, as Prefect has them by default, such a run is ended when its lease is to be renewed."""
    found = through_an_outage(served, "leased")
    # with an event of its suspension that waits for one from before the restart it would be `Crashed` for want of beats
    assert found["asked"] == ["Scheduled", "Pending", "Running", "Suspended"]
    assert found["states"][-4:] == ["Resuming", "Pending", "Running", "Completed"]
    assert found["renewed"]
    assert (found["taken"], found["left"]) == (1, 0)


def once(states: list[str]) -> list[str]:
    """On a busy machine ten seconds may pass without a beat: what is missed and contradicted again is left out."""
    kept: list[str] = []
    for state in states:
        kept.append(state)
        if kept[-4:] == ["Crashed", "Running"] * 2:
            del kept[-2:]
    return kept


def through_an_outage(served: ServedHome, what: str) -> dict[str, Any]:
    """What `tests.chaos.outlasting` says whose server is killed in it, and started again."""
    served.ensure("prefect")
    ready, gone, back = (served.folder / f"{what}-{word}" for word in ("ready", "gone", "back"))
    command = [sys.executable, "-m", "tests.chaos.outlasting", what]
    with (served.folder / f"{what}-output").open("w+") as output:
        process = served.start(*command, output=output, READY=str(ready), GONE=str(gone), BACK=str(back))
        wait_until(ready.exists, process)
        gone.touch()
        served.kill("prefect")
        served.ensure("prefect")
        back.touch()
        assert process.wait() == 0, Path(output.name).read_text()[-4000:]
        return answered(Path(output.name).read_text())
