"""Questions to tables: however large the tables are, a stage asks within the limits of its run."""

import json

from pydantic import BaseModel

from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.running.tables import rows
from tasks.stage import NoConfig, Work, stage
from tasks.store import Store

LIMITS = """
    SELECT current_setting('memory_limit') AS memory, current_setting('threads') AS threads,
           current_setting('temp_directory') AS spill
"""


@stage(version=1)
def asking(work: Work, config: BaseModel) -> None:
    """Write down within which limits it asks."""
    [found] = rows(LIMITS, work=work)
    inside = str(found.pop("spill")).startswith(str(work.scratch))
    (work.directory / "found.json").write_text(json.dumps({**found, "inside": inside}))


def test_a_stage_asks_within_the_limits_of_its_run(store: Store) -> None:
    resources = Resources(workers=1, threads=1, memory_limit="512MiB")
    with use_run(Run(store, resources, Display(quiet=True))):
        found = json.loads(asking(NoConfig()).file("found.json").read_text())
    assert found == {"memory": "512.0 MiB", "threads": 1, "inside": True}


def test_a_command_asks_within_the_limits_of_a_run_by_default() -> None:
    [found] = rows(LIMITS)
    assert found["memory"] == "1.8 GiB"  # the 2 GB of Resources
