"""A flow run whose stages wait to be told to go on: `python -m benchmarks._chaos_held DOCUMENTS SCOPE`.

What it builds is one of tests/chaos/scopes.py; with the scope `all` it is the flow that users run, on few documents.
The folder HOLD gets a file `<stage>.held` when a stage has begun, and the stage waits for `<stage>.go` beside it; a
stage that has that one already does not wait. Writes what was made there, `answer.json`.
"""

import importlib
import json
import os
import pkgutil
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from tasks.machine import home

home.configure_environment()

from mlflow import MlflowClient  # noqa: E402
from prefect import flow  # noqa: E402
from pydantic import BaseModel  # noqa: E402

import tasks  # noqa: E402
from flows import running  # noqa: E402
from flows.pipeline import textmill_pipeline  # noqa: E402
from tasks.machine.termination import exit_on_sigterm  # noqa: E402
from tasks.running import pool  # noqa: E402
from tasks.running.run import Resources  # noqa: E402
from tasks.stage import STAGES  # noqa: E402
from tasks.store import Store  # noqa: E402
from tasks.tracking.shipper import EXPERIMENT, ship_all  # noqa: E402
from tests.chaos.mill import NOT_COMPARED  # noqa: E402
from tests.chaos.scopes import build  # noqa: E402
from tests.tasks.tiny_corpus import configuration  # noqa: E402

ANSWER = "answer.json"


class ScopeConfig(BaseModel):
    """What is built."""

    scope: str
    documents: Path
    resources: Resources = Resources(workers=1, threads=1)


@flow(name="chaos", flow_run_name="{config.scope}", persist_result=False)
def chaos(config: ScopeConfig) -> None:
    """Everything of a scope."""
    with running.prefect_run("chaos", config):
        build(config.scope, config.documents, 6)


def held(name: str, build: Callable[..., None], folder: Path) -> Callable[..., None]:
    """The stage's function, which waits for its word when it has begun."""

    @wraps(build)
    def wait_and_build(*given: Any, **inputs: Any) -> None:
        (folder / f"{name}.held").touch()
        while not (folder / f"{name}.go").exists():
            time.sleep(0.02)
        build(*given, **inputs)

    return wait_and_build


def tracked() -> list[Any]:
    """Every run that MLflow has, in the order of their starts: name, how it ended, and how many points each metric has.

    Without those of the machine, which only a stage has that takes some seconds.
    """
    client = MlflowClient()
    assert ship_all(Store(home.store_path()), client)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    order = ["attributes.start_time ASC"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000, order_by=order)
    names = [sorted(name for name in run.data.metrics if not name.startswith("system/")) for run in runs]
    return [
        [
            run.info.run_name,
            run.info.status,
            {name: len(client.get_metric_history(run.info.run_id, name)) for name in own},
        ]
        for run, own in zip(runs, names, strict=True)
    ]


def main() -> None:
    """One flow run; exit status 1 if it does not complete."""
    folder, documents, scope = Path(os.environ["HOLD"]), Path(sys.argv[1]), sys.argv[2]
    for module in pkgutil.iter_modules(tasks.__path__, "tasks."):  # else only stages of the pipeline were known by now
        importlib.import_module(module.name)
    for name, stage in STAGES.items():
        object.__setattr__(stage, "build", held(name, stage.build, folder))
    os.environ[running.QUIET] = "1"
    exit_on_sigterm()
    if scope == "all":
        textmill_pipeline(configuration(documents, resources={"workers": 1, "threads": 1}))
    else:
        chaos(ScopeConfig(scope=scope, documents=documents))
    pool.shut_down()
    assert running.last_run is not None
    records = running.last_run.records
    made = {
        "digests": {each.label: each.artifact.digest for each in records if each.stage not in NOT_COMPARED},
        "states": {each.label: each.state for each in records},
        "stages": list(dict.fromkeys(each.stage for each in records)),
        "tracked": tracked(),
    }
    (folder / ANSWER).write_text(json.dumps(made))


if __name__ == "__main__":
    main()
