"""A search that kills itself: `python -m tests.flows.search_driver STORE CONFIG EVALUATIONS`, CONFIG as JSON.

SIGKILL comes after so many looks at dev, in the middle of a run.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path
from typing import Any

from flows.config.search import SearchTuningConfig
from flows.search import build_searched
from lm.train.hooks import Hooks
from tasks.running import hooks as training
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store


def main() -> None:
    """Search until the signal comes."""
    store, config, evaluations = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    seen: list[int] = []
    former = training._hooks

    def hooks(work: Any) -> Hooks:
        made = former(work)

        def evaluated(step: int, figures: dict[str, float]) -> None:
            made.on_evaluate(step, figures)
            seen.append(step)
            if len(seen) == evaluations:
                os.kill(os.getpid(), signal.SIGKILL)

        return dataclasses.replace(made, on_evaluate=evaluated)

    training._hooks = hooks
    with use_run(Run(Store(store), Resources(workers=1, threads=1), Display(quiet=True))):
        build_searched(SearchTuningConfig.model_validate_json(config))


if __name__ == "__main__":
    main()
