"""Faults by the hundred: `python -m benchmarks.chaos --seed N [--only FAULT ...] [--count K] [--seconds S]`.

The long form of tests/chaos: the same faults with more of them, drawn by the seed. What is run is a small pipeline of
22 stages (sixty generated documents to the report), forked from a process that has imported everything, so that a kill
costs a second. FAULT, and how many by default:

    kills     200  SIGKILL or SIGTERM at a moment of every stage in turn
    kills-curation, kills-models, kills-learning, kills-contest
              100  the same where every step of curation is on, over a ladder, a scaling study and an exam, over a
                   search, a study, an instruction tuning and a translator, and over a contest (tests/chaos/scopes.py)
    workers    40  SIGKILL or SIGTERM to a worker of the pool, in every stage that has one
    twins      40  three flows on one artifact, one of them killed
    twins-corpus
               10  the same from the documents to the kept corpus
    machines   20  three machines with a shared store on one artifact, one of them killed
    disk       60  a disk (a small tmpfs; root only) that is full again and again
    store      40  a store with errors, time-outs, torn uploads and downloads, lost answers
    store-corpus
               10  the same from the documents to the kept corpus
    s3         10  an S3 server behind a proxy that refuses, cuts, delays and goes away (moto over HTTP)
    clock      40  a clock that jumps by hours in two processes at once, one of them killed
    bits       40  a bit flipped in every artifact at once
    bits-curation, bits-models, bits-learning, bits-contest
               10  the same over these scopes
    memory     20  little address space, of the process and then of the workers of its pool
    servers     6  Prefect killed in a stage, back before or after its end
    postgres    3  PostgreSQL behind Prefect restarted at once in a stage (where `postgres` is installed)
    dask        4  a worker of a local Dask cluster killed
    deployment-worker
                4  a Prefect worker killed together with the flow run of a deployment
    restart-postgres, restart-prefect, restart-mlflow, restart-s3
               99  a restart of that server of a team's stack in so many stages, that is in each
    restart-postgres-curation, ... restart-s3-contest
               99  the same in every stage of these scopes; only where they are named by --only

NaN and loss spikes are tests/lm/test_guard.py; kills under the command line with Prefect and MLflow are
benchmarks/kill_and_resume.py, MLflow's outage is benchmarks/server_outage.py. After each: the digests of an undisturbed
run, or a clear error and these digests from the next run; no process left, nothing left in `partial` after garbage
collection, no run that says it runs. Exits with 1 if anything of it does not hold.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import _chaos_machines as machines
from benchmarks import _chaos_servers as servers
from benchmarks._chaos_restarts import restarts
from tasks.machine.termination import exit_on_sigterm
from tests.chaos.asking import mill_in

SCOPES = ("curation", "models", "learning", "contest")
SERVERS = ("postgres", "prefect", "mlflow", "s3")

FAULTS: dict[str, tuple[Callable[..., dict[str, Any]], int]] = {
    "kills": (machines.kills, 200),
    **{f"kills-{scope}": (partial(machines.kills, scope=scope), 100) for scope in SCOPES},
    "workers": (machines.workers, 40),
    "twins": (machines.twins, 40),
    "twins-corpus": (partial(machines.twins, scope="corpus"), 10),
    "machines": (machines.machines, 20),
    "disk": (machines.disk, 60),
    "store": (machines.store, 40),
    "store-corpus": (partial(machines.store, scope="corpus"), 10),
    "s3": (servers.s3, 10),
    "clock": (machines.clock, 40),
    "bits": (machines.bits, 40),
    **{f"bits-{scope}": (partial(machines.bits, scope=scope), 10) for scope in SCOPES},
    "memory": (machines.memory, 20),
    "servers": (servers.prefect, 6),
    "postgres": (servers.postgres, 3),
    "dask": (servers.dask, 4),
    "deployment-worker": (servers.deployment_worker, 4),
    **{f"restart-{name}": (partial(restarts, server=name), 99) for name in SERVERS},
}
LONG = {
    f"restart-{name}-{scope}": (partial(restarts, server=name, scope=scope), 99) for name in SERVERS for scope in SCOPES
}
"""What takes long enough to be asked for by name."""


def main() -> None:
    """Run the faults in turn, print a line for each, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=[*FAULTS, *LONG], default=list(FAULTS))
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--seconds", type=float, default=math.inf, help="for each fault: no further round after them")
    parser.add_argument("--out", type=Path, default=None, help="a JSON file for the figures")
    arguments = parser.parse_args()
    exit_on_sigterm()  # as `timeout` sends it: servers that were started here are to end
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="textmill-chaos-", dir=_memory()) as folder, mill_in(Path(folder)) as mill:
        for name in arguments.only:
            fault, usual = (FAULTS | LONG)[name]
            root = Path(folder) / name
            root.mkdir()
            started = time.monotonic()
            machines.UNTIL[0] = started + arguments.seconds
            found[name] = fault(mill, root, arguments.seed, arguments.count or usual)
            found[name]["seconds"] = round(time.monotonic() - started)
            print(f"{name}: {json.dumps(found[name])}", flush=True)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps({"seed": arguments.seed, **found}, indent=1) + "\n")
    sys.exit(1 if any(figures["wrong"] for figures in found.values()) else 0)


def _memory() -> str | None:
    """Thousands of files are flushed: a memory file system where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    main()
