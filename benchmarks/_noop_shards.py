"""A Prefect flow of 1,000 shards on which nothing is done: `python -m benchmarks._noop_shards SHARDS RUNNER WORKERS`.

Two stages of one store: a source that lists its shards, and one that has a part for each. Prints what became of them,
the seconds of each, and those of the flow, as JSON.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from tasks.machine.home import configure_environment, home

configure_environment()

from prefect import flow, runtime  # noqa: E402
from pydantic import BaseModel, ConfigDict  # noqa: E402

from tasks.running.parts import Part, build_parts  # noqa: E402
from tasks.running.progress import Display  # noqa: E402
from tasks.running.run import Resources, pipeline_run  # noqa: E402
from tasks.stage import NoConfig, Work, stage  # noqa: E402
from tasks.store import Artifact, Store  # noqa: E402


class Shards(BaseModel):
    """How many."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int


@stage(version=1)
def shards(work: Work, config: Shards) -> None:
    """A source of so many shards."""
    (work.directory / "one.txt").write_text("a shard")
    work.shards += [{"path": "one.txt", "digest": f"shard {n}"} for n in range(config.count)]


@stage(version=1)
def noop(work: Work, config: NoConfig, *, source: Artifact) -> None:
    """A part for each shard, one small file in it."""
    parts = [Part({"shard": s.digest}, (s.digest,)) for s in source.shards()]
    build_parts(work, "noop.shard", 1, write_digest, parts)


def write_digest(directory: Path, digest: str) -> dict[str, Any]:
    """The work on a shard: none but what is asked of any, a file."""
    (directory / "digest.txt").write_text(digest)
    return {"counts": {"shards": 1}, "shards": [{"path": "digest.txt", "digest": digest}], "digest": None}


@flow(name="many-shards")
def many_shards(count: int, runner: str, workers: int) -> dict[str, Any]:
    """Both stages, as a pipeline runs them."""
    resources = Resources.model_validate({"workers": workers, "threads": 1, "runner": runner})
    with pipeline_run(
        "many-shards",
        {"count": count},
        resources,
        store=Store(home() / runner),
        display=Display(quiet=True),
        flow_run_id=str(runtime.flow_run.id),
        follow=False,
    ) as run:
        source = shards(Shards(count=count))
        before = time.process_time()
        noop(NoConfig(), source=source)
        processor = time.process_time() - before
    return {
        "processor_seconds": processor,  # of this process, whatever else the machine does
        "states": {record.stage: record.state for record in run.records},
        "seconds": {record.stage: record.seconds for record in run.records},
        "digest": run.records[-1].artifact.digest,
    }


if __name__ == "__main__":
    started = time.perf_counter()
    found = many_shards(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    print(json.dumps({**found, "flow_seconds": time.perf_counter() - started}))
