"""The flow of a deployment whose worker is killed (tests/chaos/worker_driver.py): tiny stages with work in a pool."""

import os

from prefect import flow, flow_engine
from pydantic import BaseModel

from flows.running import prefect_run
from tasks.running.run import Resources, Run
from tests.tasks.driver import chain
from tests.tasks.stages import NumbersConfig

if beat := os.environ.get("BEAT_SECONDS"):  # Prefect takes 30 s at least, here and in its settings
    flow_engine.MINIMUM_HEARTBEAT_INTERVAL = int(beat)
    flow_engine.FlowRunEngine.heartbeat_seconds = property(lambda self: int(beat))  # type: ignore[assignment]


class DeployedConfig(BaseModel):
    """How many shards."""

    count: int = 12
    resources: Resources = Resources(workers=2, threads=1)


@flow(name="deployed")
def deployed(config: DeployedConfig = DeployedConfig()) -> None:  # noqa: B008
    """Numbers, their squares in a pool of two, and the sum."""
    Run.announce = lambda self, stage, key: None  # type: ignore[method-assign]  # no MLflow here
    with prefect_run("deployed", config):
        chain(NumbersConfig(count=config.count))
