"""What prefect.yaml names is there, can be deployed and is described."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.flows import load_flow_from_entrypoint

from flows.servers.automations import TAG

ROOT = Path(__file__).parents[2]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_a_deployment_is_a_flow_with_a_form_and_a_line_in_the_docs(deployment: dict[str, Any]) -> None:
    path, _ = deployment["entrypoint"].split(":")
    assert (ROOT / path).is_file()
    flow: Flow[Any, Any] = load_flow_from_entrypoint(deployment["entrypoint"])
    assert "config" in flow.parameters.properties
    assert TAG in deployment["tags"]  # or nobody says that it has crashed
    page = (ROOT / "docs/running.md").read_text(encoding="utf-8")
    assert f"| `{flow.name}/{deployment['name']}` |" in page


def test_every_flow_can_be_deployed() -> None:
    named = {deployment["entrypoint"] for deployment in DEPLOYMENTS}
    there = {
        f"flows/{path.name}:{line.split('def ')[1].split('(')[0]}"
        for path in (ROOT / "flows").glob("*.py")
        for before, line in pairwise(path.read_text(encoding="utf-8").splitlines())
        if before.startswith("@flow(")
    }
    assert there == named
