"""`textmill up` of a new version leaves what was changed in the Prefect UI; a configuration may be a named file."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def said(prefect_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home, root = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("checkout")
    environment = {**prefect_environment, "TEXTMILL_HOME": str(home)}
    command = [sys.executable, "-m", "tests.flows.deploy_driver", str(root)]
    done = subprocess.run(
        command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_what_was_changed_in_the_ui_stays(said: dict[str, Any]) -> None:
    assert (said["first"], said["nothing new"], said["upgrade"]) == (True, False, True)
    mine = {"config": {"name": "mine", "tokenizer": {"vocab_size": 1024}}}
    changed = [mine, [["0 2 1 1 *", False], ["0 3 1 1 *", True]], []]
    assert said["changed"] == changed
    assert said["upgraded"] == changed
    assert said["upgraded again"] == changed
    assert said["failed"]
    assert said["after one that failed"] == changed


def test_what_prefect_yaml_says_anew_stands_in_its_place(said: dict[str, Any]) -> None:
    parameters, schedules, [message] = said["said otherwise"]
    assert parameters["config"].endswith("mine.yaml")
    assert schedules == [["0 4 1 1 *", True]]
    assert message.startswith("deployed-again: prefect.yaml says something else of it now")
    assert '"vocab_size": 1024' in message


def test_a_deployment_that_prefect_yaml_names_no_more_stays_as_it_is(said: dict[str, Any]) -> None:
    parameters, _, messages = said["named no more"]
    assert (said["renamed"], parameters["config"]["name"], messages) == (True, "mine", [])


def test_a_configuration_is_the_file_that_is_named(said: dict[str, Any]) -> None:
    assert said["run"] == "of a file 2048"
