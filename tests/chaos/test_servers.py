"""The Prefect server is killed while a stage runs, and is back before or after the flow has ended."""

from collections.abc import Iterator

import pytest

from tests.chaos.server_faults import DRIVER, ServedHome, left_running, wait_until


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
    lasting = served.start(*DRIVER, "run", SLOW_SECONDS="3")
    wait_until(lambda: "slow" in served.calls(), lasting)
    served.kill("prefect")
    output, _ = lasting.communicate(timeout=200)  # it ends while nobody listens
    assert lasting.returncode != 0, output[-2000:]
    served.ensure("prefect")

    after = served.reconciled()
    assert left_running(after) == []
    assert after["tokens"] == []  # its process had ended by itself
    served.finish(*DRIVER, "run")
    states = served.reconciled()
    assert [state["flow"] for state in states["states"]][-1] == "Completed"
    assert states["states"][-1]["tasks"] == {"numbers": "Cached", "slow": "Cached"}  # finished without the server
    assert served.calls() == ["numbers", "slow"]
    assert left_running(states) == []
    assert not list((served.folder / "store" / "partial").iterdir())
