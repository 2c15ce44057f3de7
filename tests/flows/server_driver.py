"""Runs a search, a study and an instruction tuning against servers, as their commands do: `python -m
tests.flows.server_driver FILE`, which says where data and models are. Prints what each command would print as JSON."""

import json
import sys
from pathlib import Path
from typing import Any

from tasks.machine import home

home.configure_environment()

from mlflow import MlflowClient  # noqa: E402

from flows.commands.start import run_flow  # noqa: E402
from flows.config.instruct import load_instruct  # noqa: E402
from flows.config.loading import CONFIGS  # noqa: E402
from flows.config.search import SearchTuningConfig  # noqa: E402
from flows.config.study import StudyConfig  # noqa: E402
from tasks.store import Store  # noqa: E402
from tasks.tracking.shipper import ship_all  # noqa: E402

QUICK: dict[str, Any] = {"epochs": 1, "batch": 8, "evaluations": 1, "device": "cpu", "max_tokens": 16}


def main() -> None:
    """The three flows, one after the other."""
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    quiet = {"resources": {"workers": 1, "threads": 1}}
    search = SearchTuningConfig.model_validate(
        {
            **{"name": "rates", "data": given["data"], "model": given["bert"], "preset": "small-bert", "seeds": [0]},
            **{"settings": QUICK, "search": {"space": {"learning_rate": [1e-3, 1e30]}}, **quiet},
        }
    )
    systems = {"words": {"kind": "bag_of_words"}, "gpt": {"model": "gpt", "settings": QUICK}}
    study = StudyConfig.model_validate(
        {
            **{"name": "labels", "tasks": [given["topics"]], "models": {"gpt": given["gpt"]}, "labels": [16, "all"]},
            **{"seeds": [0, 1], "baseline": "words", "systems": systems, **quiet},
        }
    )
    asked = {"task": given["chats"], "model": given["decoder"], "train.device": "cpu"}
    instruct = load_instruct(CONFIGS / "instruct" / "chat.yaml", asked).smoke()
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
