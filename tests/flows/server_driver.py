"""Runs a search, a study and an instruction tuning against servers, as their commands do: `python -m
tests.flows.server_driver FILE`, which says where data and models are. Prints what each command would print as JSON."""

import json
import sys

from tasks.machine import home

home.configure_environment()

from mlflow import MlflowClient  # noqa: E402

from flows.commands.start import run_flow  # noqa: E402
from tasks.store import Store  # noqa: E402
from tasks.tracking.shipper import ship_all  # noqa: E402
from tests.flows.learning_cases import learning_configs  # noqa: E402


def main() -> None:
    """The three flows, one after the other."""
    search, study, instruct = learning_configs(sys.argv[1])
    printed = {
        "search": run_flow("flows.search:search_flow", search, quiet=True),
        "study": run_flow("flows.study:study_flow", study, quiet=True),
        "instruct": run_flow("flows.instruct:instruct_flow", instruct, quiet=True),
    }
    # as `textmill up` does: on a machine with much else to do, a command does not wait until MLflow has heard all
    assert ship_all(Store(home.store_path()), MlflowClient())
    print(json.dumps(printed))


if __name__ == "__main__":
    main()
