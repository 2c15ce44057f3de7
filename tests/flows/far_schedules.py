"""Schedules that do not come due while a test runs, at whatever hour it does."""

from datetime import UTC, datetime, timedelta
from typing import Any


def far_from_now(deployments: list[dict[str, Any]]) -> None:
    """Move the schedules of a prefect.yaml: the daily ones to twelve hours from now, the weekly ones three days on."""
    then = datetime.now(UTC) + timedelta(hours=12)
    for schedule in (each for deployment in deployments for each in deployment.get("schedules", ())):
        minute, _, day, month, weekday = schedule["cron"].split()
        if weekday != "*":
            weekday = (then + timedelta(days=3)).strftime("%w")
        schedule["cron"] = f"{minute} {then.hour} {day} {month} {weekday}"
