"""A deployment's flow run that dies together with its worker: `python -m tests.chaos.worker_driver JSON`.

The JSON object says:

    folder     where homes, stores and logs are
    documents  the folder of `tests.tasks.tiny_corpus`: the whole pipeline is deployed; without it tiny stages
    moments    for each round [WHAT, SECONDS]: the kill comes so long after the flow run is in a state of that type
               (PENDING, RUNNING), or has begun that stage
    seconds    after which no further round begins; without it all do
    beat       seconds between heartbeats, where Prefect's own 30 are too long to wait for; all times follow it

Prints a JSON object on a line: what an undisturbed run ends in, what was seen in each round, and what became of flow
runs of which nothing is heard: two of ours, and one of others.
"""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil

from tasks.machine import home

home.configure_environment()

from prefect.client.orchestration import SyncPrefectClient, get_client  # noqa: E402
from prefect.client.schemas.actions import WorkPoolCreate  # noqa: E402
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId  # noqa: E402
from prefect.events.schemas.automations import AutomationCore  # noqa: E402
from prefect.exceptions import ObjectAlreadyExists  # noqa: E402
from prefect.flows import load_flow_from_entrypoint  # noqa: E402
from prefect.states import Pending, Running  # noqa: E402

from flows.servers import automations  # noqa: E402
from tests.chaos.checks import problems  # noqa: E402
from tests.chaos.deployed import DeployedConfig  # noqa: E402
from tests.chaos.mill import NOT_COMPARED  # noqa: E402
from tests.tasks.tiny_corpus import configuration  # noqa: E402

ROOT = Path(__file__).parents[2]
POOL, NAME = "textmill-killed", "killed"
PATIENCE = 240.0
DEAD = 420.0
"""Seconds in which the server must have seen that a run is dead: 90 without a heartbeat, 300 of one that did not begin,
and what a busy machine takes."""
GONE = PATIENCE
"""Seconds in which processes that the killed ones had started must have seen it: an orphan stays for ever."""


class Deployed:
    """A deployment of its own on the server of the environment."""

    def __init__(self, client: SyncPrefectClient, folder: Path, documents: Path | None, beat: int | None) -> None:
        self.client, self.folder = client, folder
        self.variables = {"BEAT_SECONDS": str(beat)} if beat else {}
        self.entrypoint, given = "tests/chaos/deployed.py:deployed", {}
        if documents:
            config = configuration(documents, resources={"workers": 2, "threads": 1})
            self.entrypoint, given = "flows/pipeline.py:textmill_pipeline", {"config": config.model_dump(mode="json")}
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        self.flow = load_flow_from_entrypoint(self.entrypoint)
        self.deployment = client.create_deployment(
            flow_id=client.create_flow(self.flow),
            name=NAME,
            entrypoint=self.entrypoint,
            path=str(ROOT),
            pull_steps=[{"flows.servers.deploy.enter_checkout": {}}],
            parameters=given,
            work_pool_name=POOL,
            concurrency_limit=1,  # as those of prefect.yaml: what is not over holds the next one up
            tags=[automations.TAG],
        )

    def home(self, name: str) -> dict[str, str]:
        """The environment of a worker with a home of its own, in which nothing was ever built."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        named = {k: v for k, v in os.environ.items() if k != "TEXTMILL_MANAGED"}  # servers as a user names them
        own = {
            "TEXTMILL_HOME": str(folder),
            "TEXTMILL_CHECKOUT": str(ROOT),
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
            "SQUARE_SECONDS": "0.5",
            "HELD_FROM": "3",
            "HELD_UNTIL": str(folder / "released"),  # a kill comes before the stage has ended
        }
        return named | self.variables | own

    def begin(self) -> UUID:
        """A flow run that waits for a worker."""
        return self.client.create_flow_run_from_deployment(self.deployment).id

    def silent(self, state: Any, ours: bool) -> UUID:
        """A flow run that nobody works on and that is in this state."""
        run = self.client.create_flow_run(self.flow, tags=[automations.TAG] if ours else [])
        self.client.set_flow_run_state(run.id, state)
        return run.id

    def state(self, run: UUID) -> str:
        """As the server has it."""
        state = self.client.read_flow_run(run).state
        return state.name if state and state.name else ""

    def over(self, run: UUID) -> None:
        """Wait until the server says that it is, for `DEAD` seconds at the most."""
        deadline = time.monotonic() + DEAD
        while not self.final(run) and time.monotonic() < deadline:
            time.sleep(0.2)

    def final(self, run: UUID) -> bool:
        """Whether it is in a state that it does not leave."""
        state = self.client.read_flow_run(run).state
        return state is not None and state.is_final()

    def open_tasks(self, run: UUID) -> list[str]:
        """Its task runs that say that they are not over."""
        tasks = self.client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
        return [task.name for task in tasks if task.state is None or not task.state.is_final()]

    @contextmanager
    def worker(self, environment: dict[str, str]) -> Iterator[psutil.Popen]:
        """As `textmill up` starts it. It is asked to end with the block, if it is still there."""
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
        with (Path(environment["TEXTMILL_HOME"]) / "worker.log").open("ab") as log:
            worker = psutil.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            yield worker
        finally:
            if worker.poll() is None:
                worker.send_signal(signal.SIGINT)
                worker.wait(PATIENCE)


def main() -> None:
    """All rounds."""
    # as in a terminal: whoever is started in the background of a shell ignores Ctrl-C, and so would the workers
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asked = json.loads(sys.argv[1])
    beat, documents = asked.get("beat"), asked.get("documents")
    until = time.monotonic() + asked.get("seconds", math.inf)
    with get_client(sync_client=True) as client, automations_of_its_own(client, beat) as begin_late:
        deployed = Deployed(client, Path(asked["folder"]), Path(documents) if documents else None, beat)
        silent = [(Pending(), True), (Running(), True), (Running(), False)]
        unheard = [deployed.silent(*each) for each in silent]
        if beat:
            for run in unheard[:2]:
                deployed.over(run)
            begin_late()
        alone = undisturbed(deployed)
        rounds: list[dict[str, Any]] = []
        while len(rounds) < len(asked["moments"]) and time.monotonic() < until:
            rounds.append(disturbed(deployed, f"round-{len(rounds)}", *asked["moments"][len(rounds)]))
        for run in unheard[:2]:
            deployed.over(run)
        found = {"alone": alone, "rounds": rounds, "unheard": [deployed.state(run) for run in unheard]}
    print(json.dumps(found))


@contextmanager
def automations_of_its_own(client: SyncPrefectClient, beat: int | None) -> Iterator[Callable[[], None]]:
    """Ours, by the times of `beat`, and what was there before when the block ends: the server is shared with other
    tests, whose runs beat more rarely. Yields what gives runs as long to begin as they have outside of tests.
    """
    within, begun_within = automations.heartbeat_within, automations.BEGUN_WITHIN
    before = [each for each in client.read_automations() if each.name.startswith(automations.PREFIX)]

    def begin_late() -> None:
        automations.BEGUN_WITHIN = begun_within  # Python and the imports are no faster
        automations.install_automations()

    try:
        if beat:
            automations.heartbeat_within = lambda: timedelta(seconds=5 * beat)
            automations.BEGUN_WITHIN = timedelta(seconds=5 * beat)
        automations.install_automations()
        yield begin_late
    finally:
        automations.heartbeat_within, automations.BEGUN_WITHIN = within, begun_within
        for each in client.read_automations():
            if each.name.startswith(automations.PREFIX):
                client.delete_automation(each.id)
        for each in before:
            client.create_automation(
                AutomationCore.model_validate(each.model_dump(include=set(AutomationCore.model_fields)))
            )


def undisturbed(deployed: Deployed) -> dict[str, str]:
    """The digests of a run that nothing happens to; of tiny stages in a process of their own."""
    environment = deployed.home("alone") | {"SQUARE_SECONDS": "0"}
    Path(environment["HELD_UNTIL"]).touch()
    if deployed.variables:
        tiny = environment | {"COUNT": str(DeployedConfig().count), "WORKERS": "1"}
        command = [sys.executable, "-m", "tests.tasks.driver", "chain"]
        subprocess.run(command, cwd=ROOT, env=tiny, check=True, capture_output=True)
        return digests(Path(environment["TEXTMILL_HOME"]))
    run = deployed.begin()
    with deployed.worker(environment):
        deployed.over(run)
        assert deployed.state(run) == "Completed", deployed.state(run)
    return digests(Path(environment["TEXTMILL_HOME"]))


def disturbed(deployed: Deployed, name: str, what: str, after: float) -> dict[str, Any]:
    """The worker and its flow run are killed; what is seen of it, and of another run by another worker."""
    environment = deployed.home(name)
    folder = Path(environment["TEXTMILL_HOME"])
    run = deployed.begin()
    with deployed.worker(environment) as worker:
        wait_for(lambda: reached(deployed, run, folder, what), f"{what} is reached")
        time.sleep(after)
        found: dict[str, Any] = {"what": what, "before": deployed.state(run), **killed(worker)}
    began, built = time.monotonic(), finished(folder)
    deployed.over(run)
    state = deployed.client.read_flow_run(run).state
    found |= {"after": state and state.name, "said": state and state.message}
    found |= {"seconds": round(time.monotonic() - began, 1), "status": said_to_run(environment)}
    Path(environment["HELD_UNTIL"]).touch()
    again = deployed.begin()
    with deployed.worker(environment):
        deployed.over(again)
    found |= {"again": deployed.state(again), "digests": digests(folder)}
    found["built twice"] = sorted(name for name, when in built.items() if finished(folder).get(name) != when)
    found["open tasks"] = deployed.open_tasks(run) + deployed.open_tasks(again)
    found["problems"] = problems(folder / "store")
    return found


def reached(deployed: Deployed, run: UUID, folder: Path, what: str) -> bool:
    """Whether the flow run has this state, or has begun this stage; a short one may have ended already."""
    begun = [
        *(folder / "store" / "partial").glob(f"{what}-*/_run/journal.jsonl"),
        *folder.glob(f"store/artifacts/{what}"),
    ]
    state = deployed.client.read_flow_run(run).state
    return bool(begun) or (state is not None and state.type.value == what)


def killed(worker: psutil.Process) -> dict[str, Any]:
    """SIGKILL to the worker and the processes of its flow run; what these have started has to see it by itself."""
    family = {}
    for each in worker.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # some are short: what asks for a version of git
            family[each] = " ".join(each.cmdline())
    helpers = [each for each, command in family.items() if "multiprocessing" in command or "shipper" in command]
    doomed = [worker, *(each for each in family if each not in helpers)]
    for each in doomed:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    worker.wait()
    _, left = psutil.wait_procs(list(family), timeout=GONE)
    return {"killed": len(doomed), "helpers": len(helpers), "left": [family[each] for each in left]}


def said_to_run(environment: dict[str, str]) -> list[str]:
    """What `textmill status` says that runs."""
    command = [sys.executable, "-m", "flows.cli.main", "status", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    ours = [each["token"] for each in said["runs"] if each["state"] == "running"]
    return ours + [each["name"] for each in said["prefect"]["running"] if each["deployment"] == NAME]


def digests(folder: Path) -> dict[str, str]:
    """The digest of each artifact of a home, by its stage and key, which are the same everywhere; but of reports."""
    manifests = [json.loads(path.read_text()) for path in folder.glob("store/artifacts/*/*/manifest.json")]
    return {f"{each['stage']}/{each['key']}": each["digest"] for each in manifests if each["stage"] not in NOT_COMPARED}


def finished(folder: Path) -> dict[str, int]:
    """The artifacts that are there, and when each was."""
    return {str(path.parent): path.stat().st_mtime_ns for path in folder.glob("store/artifacts/*/*/manifest.json")}


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Until it holds. Raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
