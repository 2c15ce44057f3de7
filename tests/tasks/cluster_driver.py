"""A process with a Prefect flow whose shards go to a Dask cluster: `python -m tests.tasks.cluster_driver RUNNER...`.

Each runner works in a store of its own below HOME_OF_STORES. Prints digests, states and what the server shows. COUNT:
how many shards. DOCUMENTS: a folder of `tiny_corpus`, curated as a pipeline does it, in place of the tiny stages.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tasks.machine.home import configure_environment

configure_environment()

from prefect import flow, runtime  # noqa: E402
from prefect.client.orchestration import get_client  # noqa: E402
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId  # noqa: E402

from flows.corpus import build_corpus  # noqa: E402
from tasks.running import cluster  # noqa: E402
from tasks.running.progress import Display  # noqa: E402
from tasks.running.run import Resources, Run, pipeline_run  # noqa: E402
from tasks.stage import sidecar  # noqa: E402
from tasks.store import Store  # noqa: E402
from tests.settled import settled  # noqa: E402
from tests.tasks.driver import chain  # noqa: E402
from tests.tasks.stages import NumbersConfig  # noqa: E402
from tests.tasks.tiny_corpus import configuration  # noqa: E402

ENVIRONMENT = ("MALLOC_ARENA_MAX", "OMP_NUM_THREADS")


def curated(documents: Path) -> None:
    """A corpus whose shards are worked on alone, in groups of bands, and with tables of their own beside them."""
    build_corpus(configuration(documents))


@flow(name="cluster")
def run_chain(runners: list[str]) -> dict[str, Any]:
    """The chain of tiny stages, once with each runner."""
    Run.announce = lambda self, stage, key: None  # type: ignore[method-assign]  # no MLflow here
    flow_run_id = str(runtime.flow_run.id)
    out = {}
    for runner in runners:
        resources = Resources.model_validate({"workers": 2, "threads": 1, "runner": runner})
        store = Store(Path(os.environ["HOME_OF_STORES"]) / runner)
        config = {"runner": runner}
        display = Display(quiet=True)
        with pipeline_run("cluster", config, resources, store=store, display=display, flow_run_id=flow_run_id) as run:
            if documents := os.environ.get("DOCUMENTS"):
                curated(Path(documents))
                out[runner] = {record.label: record.artifact.digest for record in run.records}
                continue
            artifacts = chain(NumbersConfig(count=int(os.environ.get("COUNT", "4"))))
            started = cluster._runner
            told = [] if started is None else [started.client.run(os.environ.get, name) for name in ENVIRONMENT]
        out[runner] = {
            "digests": [artifact.digest for artifact in artifacts],
            "states": {record.stage: record.state for record in run.records},
            "workers": sidecar(artifacts[1])["workers"],
            "told": [sorted(set(each.values())) for each in told],
        }
    return {"runners": out, "flow_run": flow_run_id}


def task_runs(flow_run_id: str) -> dict[str, str]:
    """Names and states of a flow run's tasks, as the server has them in the end."""
    only = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        return settled(lambda: {run.name: str(run.state_name) for run in client.read_task_runs(flow_run_filter=only)})


if __name__ == "__main__":
    result = run_chain(sys.argv[1:])
    print(json.dumps({**result, "task_runs": task_runs(result["flow_run"])}))
