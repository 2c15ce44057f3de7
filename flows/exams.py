"""Exams as a flow: models by exams, for schedules and for the Prefect UI. `textmill evaluate` needs no server."""

from prefect import flow
from pydantic import Field

from flows.config.exam import load_exam
from flows.exam import take
from flows.given import given_model
from flows.running import prefect_run
from lm.config import StrictModel
from tasks.running.run import Resources


class ExamsConfig(StrictModel):
    """Which models are asked what."""

    models: tuple[str, ...] = Field(min_length=1, description="Model artifacts, aliases or folders.")
    exams: tuple[str, ...] = Field(min_length=1, description="Shipped exams or YAML files.")
    resources: Resources = Field(default=Resources(), description="Threads, and where the store is.")


@flow(name="exams", flow_run_name="exams of {config.models}", persist_result=False)
def exams_flow(config: ExamsConfig) -> dict[str, str]:
    """Put models to exams; what was asked before is reused."""
    made: dict[str, str] = {}
    with prefect_run("exams", config):
        asked = [load_exam(name) for name in config.exams]
        for model in config.models:
            given = given_model(model)
            for each in asked:
                made[f"{model} {each.name}"] = take(given, each).name
    return made
