"""Schedules, approval, notifications, limits and the status page, on a real Prefect server with a real MLflow registry.

One process does it all (tests/flows/schedule_driver.py); here is said what should have come of it.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flows.servers.automations import FAILED, GATE, HEARTBEAT, NOT_BEGUN, WAITING
from tests.asked import told

Said = dict[str, Any]


@pytest.mark.server
def test_what_happens_by_itself(prefect_environment: dict[str, str], tmp_path: Path) -> None:
    """One test, so that several workers do not do everything several times."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    environment = prefect_environment | {
        "TEXTMILL_HOME": str(tmp_path),
        "MLFLOW_TRACKING_URI": uri,
        "OMP_NUM_THREADS": "1",
    }
    said = told("tests.flows.schedule_driver", str(tmp_path), environment)
    assert (tmp_path / "mlruns").is_dir()  # and not in the checkout
    automations_are_those_wanted_and_each_failure_is_told_by_one(said["notifications"])
    the_schedules_are_planned(said["planned"])
    a_suspended_run_is_asked_about_and_goes_on(said["suspended"])
    a_paused_run_is_refused_or_forgotten_and_nothing_is_promoted(said["paused"])
    a_refresh_starts_pretraining_once(said)
    garbage_is_collected_by_a_deployment_that_is_not_planned(said["collected"])
    of_missed_nights_one_is_made_up_for(said["nights"])
    no_two_trainings_share_a_gpu(said["gpu"])
    the_page_in_prefect_says_what_status_says(said["published"])


def automations_are_those_wanted_and_each_failure_is_told_by_one(said: Said) -> None:
    assert "custom-webhook/mill: the Prefect server has no such block; create it in the UI" in said["no block"]
    assert "write TYPE/NAME" in said["no name"]
    assert "a block of type secret sends no notifications" in said["mute"]
    assert 3 <= said["created"] <= 5  # the two about dead runs may have been there
    assert (said["again"], said["mended"], said["removed"]) == (0, 1, 3)
    assert sorted(said["left"]) == sorted([HEARTBEAT, NOT_BEGUN])
    assert len(said["messages"]) == 2, said["messages"]
    gate, failed = said["messages"]
    assert gate.startswith("A gate closed, nothing was built: gated / ")
    assert "GateClosed: the corpus 'news' has moved" in gate
    assert failed.startswith("Failed: broken / ")
    assert "ValueError: the disk is full" in failed
    assert "/runs/flow-run/" in failed
    assert len({FAILED, GATE, HEARTBEAT, NOT_BEGUN, WAITING}) == 5


def the_schedules_are_planned(planned: list[Said]) -> None:
    when = {row["deployment"]: (row["state"], row["why"]) for row in planned}
    assert when["nightly-corpus"] == ("Scheduled", "for its time")
    assert when["weekly-champion"] == ("Scheduled", "for its time")
    assert len(planned) == 2  # the next one of each, not the hundred after it


def a_suspended_run_is_asked_about_and_goes_on(said: Said) -> None:
    assert said["ended"] == ["Suspended", "Completed"]
    assert said["first"][0] == "Suspended"
    assert said["alias before"] == "1"
    assert said["message"] == [message for message in said["message"] if "champion / " in message]
    assert len(said["message"]) == 1
    [row] = said["waiting"]
    assert (row["flow"], row["deployment"], row["state"]) == ("champion", "weekly-champion", "Suspended")
    assert row["why"].startswith("for a person")
    assert row["at"] > 0
    assert "| champion/weekly-champion | Suspended | for a person: resume it in the Prefect UI | until " in said["page"]
    assert said["asked"]["approve"]["type"] == "boolean"
    assert said["asked"]["approve"]["default"] is False
    assert "On 6 documents" in said["described"]

    assert said["second"][0] == "Completed"
    assert said["alias after"] == "2"
    assert said["in the store"]
    assert said["outcome"].startswith("promoted version 2: the challenger is better by +")
    assert said["outcome"].endswith(" (good)")
    assert said["expired"] == ["Failed", "The flow was paused and never resumed."]


def a_paused_run_is_refused_or_forgotten_and_nothing_is_promoted(said: Said) -> None:
    (refused, _), (forgotten, why) = said["states"]
    assert (refused, forgotten) == ("Completed", "Failed")
    assert "never resumed" in why or "NotAnswered: nobody answered within" in why  # the server or the flow was first
    [line] = [line for line in said["terminal"].splitlines() if "waits for a yes or no" in line]
    assert line.startswith("waits for a yes or no, for 1 hours at most: press Resume at http")
    assert "/runs/flow-run/" in line
    assert said["refused"] == {"outcome": "kept the champion: promotion was refused (not on a Friday)"}
    assert said["outcomes"] == ["kept the champion: promotion was refused (not on a Friday)", None]
    assert said["recorded"] == ["failed", "finished"]  # that nobody answered is seen in `textmill status`
    assert said["alias"] == "1"
    assert said["unasked"]["outcome"].startswith("promoted version 2")
    assert said["alias unasked"] == "2"
    assert "are the same version: nothing to compare" in said["nothing to do"]["outcome"]


def a_refresh_starts_pretraining_once(said: Said) -> None:
    assert "there is no deployment 'pretrain/pretrain' to pretrain on it: `textmill up`" in said["without a deployment"]
    assert said["started"] == {
        "same": True,
        "state": "Scheduled",
        "tags": ["gpu", "pretrain", "started by nightly-corpus", "textmill"],
        "config": "quickstart",
    }


def garbage_is_collected_by_a_deployment_that_is_not_planned(said: Said) -> None:
    """That it is not planned is also seen above: only two are."""
    assert said["ended"] == "Completed"
    assert said["said"].endswith(" bytes")
    assert " removed, " in said["said"]
    assert (said["left"], said["champion"], said["schedules"]) == (False, True, [False])


def of_missed_nights_one_is_made_up_for(nights: list[str]) -> None:
    """The first begins, those that come while it runs are cancelled, and one that comes later begins again."""
    assert nights == ["Pending", "Cancelled", "Cancelled", "Pending"]


def no_two_trainings_share_a_gpu(said: Said) -> None:
    gpu = sorted((begun, ended) for device, begun, ended in said["spans"] if device == "cuda")
    assert len(gpu) == 3
    assert all(ended <= begun for (_, ended), (begun, _) in pairwise(gpu))
    [ended] = [ended for device, _, ended in said["spans"] if device == "cpu"]
    assert ended < gpu[-1][1]
    [limit] = said["limits"]
    assert (limit["slots"], limit["taken"]) == (1, 0)


def the_page_in_prefect_says_what_status_says(page: str) -> None:
    assert page.startswith("## Runs now")
    assert "| champion | finished | " in page
    assert "| 4 | 0 |" in page  # built
    assert "| 0 | 4 |" in page  # reused, on the way to the answer
    assert "artifacts, " in page
