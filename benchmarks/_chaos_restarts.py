"""Every stage of the pipeline meets a restart of every server of a team: PostgreSQL, Prefect, MLflow, S3
(benchmarks.chaos).

The stack is `textmill up --stack team`: PostgreSQL is behind Prefect and MLflow. A server is ended by SIGKILL with its
children and started as `up` starts it. S3 is moto behind a proxy that refuses and cuts everything instead: moto keeps
its objects in memory, and would come back empty.

A stage says when it has begun and waits (`benchmarks._chaos_held`). Then its server goes, and is either back before
the stage goes on, or only after it has gone on for some seconds, so that its work and its end meet the outage. A flow
run that ends by it is started again, as a user would.
"""

import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import _chaos_machines as machines
from benchmarks._chaos_machines import Mill
from tests import s3 as moto
from tests.chaos.checks import problems
from tests.chaos.proxy import Proxy
from tests.chaos.server_faults import ServedHome, answered
from tests.flows.team_machines import folder_for_all
from tests.settled import settled
from tests.tasks.tiny_corpus import write_documents

HELD = [sys.executable, "-m", "benchmarks._chaos_held"]
LATE = 0.5
"""The share of the restarts that are over only after the stage has gone on."""
LATE_SECONDS = 3.0
ATTEMPTS = 60
FLOW_SECONDS = 900.0
"""After which a flow run is killed and counts as one that failed."""
STATES = """
import json
from tasks.machine import home
home.configure_environment()
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    flows, tasks = client.read_flow_runs(limit=200), []
    while more := client.read_task_runs(limit=200, offset=len(tasks)):
        tasks += more
print(json.dumps({"states": [[run.name, run.state_name] for run in flows + tasks]}))
"""


class TeamHome(ServedHome):
    """A home with a team's servers; its store is on S3, behind a proxy."""

    def __init__(self, folder: Path, proxy: Proxy, scope: str) -> None:
        super().__init__(
            folder / "home",
            TEXTMILL_STACK="team",
            TEXTMILL_POSTGRES_DATA=str(folder / "postgres"),
            TEXTMILL_STORE="s3://chaos/store",
            TEXTMILL_CPU_WORKERS="0",
            TEXTMILL_GPU_WORKERS="0",
            **moto.environment(proxy.port),
        )
        self.proxy, self.documents = proxy, folder / "documents"
        write_documents(self.documents)
        self.held = [*HELD, str(self.documents), scope]

    def start_all(self) -> None:
        """PostgreSQL, Prefect and MLflow, unless they run."""
        self.choose_ports()
        self._python("from flows.servers import services, team; team.choose(None); services.ensure()")

    def take(self, server: str) -> None:
        """A crash of it."""
        if server == "s3":
            self.proxy.go_away()
        else:
            self.kill(server)

    def give(self, server: str) -> None:
        """It is there again."""
        if server == "s3":
            self.proxy.down.clear()
        else:
            self.start_all()

    def prefect_states(self) -> list[tuple[str, str]]:
        """Name and state of every flow run and task run."""
        return [tuple(pair) for pair in answered(self.finish(sys.executable, "-c", STATES))["states"]]

    def forget_all(self) -> None:
        """Nothing was ever built here or in the shared store."""
        shutil.rmtree(self.folder / "store", ignore_errors=True)
        code = (
            "import s3fs; fs = s3fs.S3FileSystem(); fs.exists('chaos/store') and fs.rm('chaos/store', recursive=True)"
        )
        self._python(code)


@contextmanager
def team_home(scope: str) -> Iterator[TeamHome]:
    """With servers that run; all of it ends with the block."""
    with folder_for_all() as folder, moto.served() as port:
        moto.make_bucket("chaos", port)
        proxy = Proxy(port, seed=0, rate=0.0)
        home = TeamHome(folder, proxy, scope)
        try:
            home.start_all()
            yield home
        finally:
            home.down()
            proxy.close()


def restarts(mill: Mill, root: Path, seed: int, count: int, *, server: str, scope: str = "all") -> dict[str, Any]:
    """Of a server in `count` stages of a scope, or in as many as there are."""
    wrong: list[str] = []
    with team_home(scope) as home:
        alone = whole(home, root / "alone", lambda stage, flow: None)[0]
        found = met(home, root / server, server, random.Random(seed), count, alone, wrong)
    return {**found, "wrong": wrong}


def met(
    home: TeamHome, hold: Path, server: str, draw: random.Random, count: int, alone: dict[str, Any], wrong: list[str]
) -> dict[str, Any]:
    """One server: how many stages met its restart, and how the flow runs ended."""
    home.forget_all()
    done: Counter[str] = Counter()

    def restart(stage: str, flow: "subprocess.Popen[str]") -> None:
        if sum(done.values()) >= count or time.monotonic() > machines.UNTIL[0]:
            return
        late = draw.random() < LATE
        done["late" if late else "in time"] += 1
        home.take(server)
        if late:
            (hold / f"{stage}.go").touch()
            wait(LATE_SECONDS, lambda: flow.poll() is not None)
        elif server == "s3":
            time.sleep(1.0)  # as if it had to be started
        home.give(server)

    found, ended = whole(home, hold, restart)
    home.give(server)
    home.finish(*home.held, HOLD=str(hold))
    after = json.loads((hold / "answer.json").read_text())
    if found["digests"] != alone["digests"] or after["digests"] != alone["digests"]:
        wrong.append("other digests")
    if set(after["states"].values()) != {"cached"}:
        wrong.append(f"built again: {[name for name, state in after['states'].items() if state != 'cached']}")
    lost = points_lost(after["tracked"][len(alone["tracked"]) :], alone["tracked"])
    open_ = [name for name, status, _ in after["tracked"] if status not in ("FINISHED", "FAILED", "KILLED")]
    wrong += [] if done else ["no stage met a restart: the time was over before"]
    wrong += [f"MLflow has other points, name by name (undisturbed, now): {lost}"] if lost else []
    wrong += [f"MLflow says it runs: {open_}"] if open_ else []
    # Prefect hears of tasks by events, of some after the end of their flow
    said = settled(lambda: {f"{n} {name}": state for n, (name, state) in enumerate(home.prefect_states())})
    running = [name for name, state in said.items() if state in ("Running", "Pending", "Cancelling")]
    wrong += [f"Prefect says it runs: {running}"] if running else []
    wrong += problems(home.folder / "store")
    points = sum(sum(metrics.values()) for _, _, metrics in alone["tracked"])
    return {"stages": sum(done.values()), **done, "flow runs": ended, "of": len(found["stages"]), "points": points}


def points_lost(since: list[Any], undisturbed: list[Any]) -> dict[str, Any]:
    """The names of which the runs that have metrics do not have as many points of each as they had undisturbed."""

    def counted(runs: list[Any]) -> dict[str, list[dict[str, int]]]:
        found: dict[str, list[dict[str, int]]] = {}
        for name, _, points in runs:
            if points:
                found.setdefault(name, []).append(points)
        return {name: sorted(of, key=json.dumps) for name, of in found.items()}

    before, now = counted(undisturbed), counted(since)
    return {name: (of, now.get(name)) for name, of in before.items() if now.get(name) != of}


def whole(
    home: TeamHome, hold: Path, restart: Callable[[str, "subprocess.Popen[str]"], None]
) -> tuple[dict[str, Any], dict[str, int]]:
    """The pipeline, started until it has completed. What it says, and how its flow runs ended."""
    hold.mkdir()
    ended: Counter[str] = Counter()
    log = hold / "output.log"
    for _ in range(ATTEMPTS):
        with log.open("w") as output:
            flow = home.start(*home.held, output=output, HOLD=str(hold))
        try:
            until = time.monotonic() + FLOW_SECONDS
            while flow.poll() is None and time.monotonic() < until:
                for file in hold.glob("*.held"):
                    if not file.with_suffix(".go").exists():
                        restart(file.stem, flow)
                        file.with_suffix(".go").touch()
                time.sleep(0.02)
        finally:
            flow.kill()  # whoever ends this must not leave it waiting
            flow.wait()
        ended["completed" if flow.returncode == 0 else "failed"] += 1
        if flow.returncode == 0:
            return dict(json.loads((hold / "answer.json").read_text())), dict(ended)
    raise RuntimeError(f"{ATTEMPTS} flow runs failed, the last with\n{log.read_text(errors='replace')[-3000:]}")


def wait(seconds: float, over: Callable[[], bool]) -> None:
    """So long, or until it is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not over():
        time.sleep(0.05)
