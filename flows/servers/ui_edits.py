"""What a person changed of a deployment in the Prefect UI outlives `textmill up`: its parameters and its schedules.

`prefect deploy` sets both to what `prefect.yaml` says. What the server has is therefore noted after it (`as_deployed`);
what differs from that before the next one was changed in between (`edits`), and is put back, unless `prefect.yaml` says
something else of that deployment by then.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_quality.plain_yaml import load_yaml
from flows.config.addresses import without_user

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse

logger = logging.getLogger("textmill.deploy")

Settings = dict[str, Any]
"""Of a deployment: parameters, schedules, and the hash of what `prefect.yaml` said of it."""


def as_deployed(root: Path) -> dict[str, Settings]:
    """What the server has of each deployment in the `prefect.yaml` of a checkout."""
    said = _said(root)
    return {each.name: {**_settings(each), "said": said[each.name]} for each in _deployments() if each.name in said}


def edits(before: Mapping[str, Settings]) -> dict[str, Settings]:
    """What the server has now of those deployments whose parameters or schedules are not as they were `before`."""
    found = {each.name: _settings(each) for each in _deployments() if each.name in before}
    return {
        name: settings
        for name, settings in found.items()
        if any(settings[key] != before[name][key] for key in settings)
    }


def put_back(edited: Mapping[str, Settings], before: Mapping[str, Settings], root: Path) -> None:
    """Set deployments to what was changed of them, and say of which that is not done."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentScheduleUpdate, DeploymentUpdate
    from prefect.exceptions import PrefectHTTPStatusError

    said = _said(root)
    with get_client(sync_client=True) as client:
        for each in _deployments():
            if each.name not in edited or each.name not in said:  # what prefect.yaml names no more was not deployed
                continue
            settings = edited[each.name]
            if said[each.name] != before[each.name]["said"]:
                logger.warning(
                    "%s: prefect.yaml says something else of it now, which stands in place of what was set in the "
                    "Prefect UI: %s",
                    each.name,
                    without_user(json.dumps(settings), "...@"),
                )
                continue
            schedules = [DeploymentScheduleUpdate.model_validate(schedule) for schedule in settings["schedules"]]
            try:
                update = DeploymentUpdate(parameters=settings["parameters"], schedules=schedules)
                client.update_deployment(each.id, update)
            except PrefectHTTPStatusError as error:
                logger.warning(
                    "%s: what was set in the Prefect UI is refused since this version, and is now as in prefect.yaml: "
                    "%s (%s)",
                    each.name,
                    without_user(json.dumps(settings), "...@"),
                    without_user(error.response.text, "...@"),
                )


def _said(root: Path) -> dict[str, str]:
    entries = load_yaml((root / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    return {entry["name"]: hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest() for entry in entries}


def _deployments() -> "list[DeploymentResponse]":
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return list(client.read_deployments())


def _settings(deployment: "DeploymentResponse") -> Settings:
    wanted = {"schedule", "active", "parameters", "max_scheduled_runs", "slug"}
    schedules = [schedule.model_dump(mode="json", include=wanted) for schedule in deployment.schedules]
    return {"parameters": deployment.parameters, "schedules": sorted(schedules, key=json.dumps)}
