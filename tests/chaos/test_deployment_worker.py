"""A worker that is killed together with its flow run: the server sees it, and the deployment's next run goes on."""

import json
from pathlib import Path

import pytest

from tests.asked import told


@pytest.mark.server
def test_a_flow_run_that_dies_with_its_worker_is_crashed_and_costs_nothing_finished(
    prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    asked = {"folder": str(tmp_path), "beat": 2, "moments": [["squares", 1.0]]}
    said = told("tests.chaos.worker_driver", json.dumps(asked), prefect_environment)
    [found] = said["rounds"]
    assert found["before"] == "Running"
    assert found["left"] == []  # the workers of its pool have gone by themselves
    assert (found["after"], found["status"]) == ("Crashed", [])
    assert found["said"].startswith("No heartbeat for 10 s: its process is gone. Run again, it goes on.")
    assert found["again"] == "Completed"
    assert found["digests"] == said["alone"]
    assert (found["built twice"], found["open tasks"], found["problems"]) == ([], [], [])
    # taken by a worker and then never heard of; begun and then never heard of; and the same of somebody else's flow
    assert said["unheard"] == ["Crashed", "Crashed", "Running"]
