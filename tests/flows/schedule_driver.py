"""Schedules on real servers: `python -m tests.flows.schedule_driver ROOT` prints one JSON document of what happened;
tests/flows/test_schedules.py judges it."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import redirect_stderr
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml

from tasks.machine import home

home.configure_environment()

from mlflow import MlflowClient  # noqa: E402
from prefect import Flow, flow  # noqa: E402
from prefect.blocks.notifications import CustomWebhookNotificationBlock  # noqa: E402
from prefect.client.orchestration import SyncPrefectClient, get_client  # noqa: E402
from prefect.exceptions import Pause  # noqa: E402
from prefect.flow_engine import run_flow  # noqa: E402
from prefect.states import Completed, Pending, Running, Scheduled, Suspended  # noqa: E402

from flows.champion import champion_flow  # noqa: E402
from flows.config.champion import ChampionConfig  # noqa: E402
from flows.config.loading import ConfigError  # noqa: E402
from flows.config.pipeline import quickstart  # noqa: E402
from flows.deployments import gc_flow  # noqa: E402
from flows.refresh import start_pretraining  # noqa: E402
from flows.servers import approval, automations  # noqa: E402
from flows.servers.deploy import create_work_pools  # noqa: E402
from flows.servers.services import ServiceError  # noqa: E402
from flows.servers.status import status  # noqa: E402
from flows.servers.status_page import markdown, publish_status  # noqa: E402
from flows.servers.status_prefect import PAGE_KEY  # noqa: E402
from tasks.profile import GateClosed  # noqa: E402
from tasks.running.gpu import gpu_slot, limit_name  # noqa: E402
from tasks.running.progress import Display  # noqa: E402
from tasks.running.run import Resources, Run, use_run  # noqa: E402
from tasks.store import Store  # noqa: E402
from tests.flows.exam_home import make_store  # noqa: E402
from tests.flows.far_schedules import far_from_now  # noqa: E402
from tests.flows.schedule_helpers import (  # noqa: E402
    MODEL,
    SECONDS,
    TRIES,
    alias_of,
    listening,
    message_of,
    register,
    state_of,
    wait_for,
    waiting,
)

ROOT = Path(__file__).parents[2]
CONTEST: dict[str, Any] = {"held_out": {"least": 3}, "contest": {"draws": 200}, "resources": {"workers": 1}}


def main() -> None:
    """All of it, in an order in which each finds what it needs."""
    root = Path(sys.argv[1])
    os.chdir(root)  # MLflow puts files of runs into ./mlruns where the database is a file of ours
    make_store(root)
    store, mlflow = Store(root / "store"), MlflowClient()
    register(store, mlflow, "one", "three")
    said: dict[str, Any] = {}
    with get_client(sync_client=True) as client, listening() as (address, messages):
        try:
            said["without a deployment"] = message_of(lambda: pretraining(store, "early"), ConfigError)
            said["notifications"] = notifications(client, address, messages)
            deploy(root)
            said["planned"] = planned()
            said["suspended"] = suspended(client, mlflow, store, messages)
            said["paused"] = paused(client, mlflow, messages)
            said["started"] = started(client, store)
            said["collected"] = collected(client, store)
            said["nights"] = missed_nights(client)
            said["gpu"] = shared_gpu(store)
            said["published"] = published(client)
        finally:
            os.environ.pop(automations.NOTIFY, None)
            automations.install_automations()
    print(json.dumps(said, default=str))


def notifications(client: SyncPrefectClient, address: str, messages: list[str]) -> dict[str, Any]:
    """Automations come, stay, are mended and go; and the two that are about failures say so, one each.

    The first of each kind: a busy server may send one twice (prefect.server.events.actions: at least once), and
    until its triggers have heard of the new automations, failures are told by nobody, so that a flow fails again.
    """
    found: dict[str, Any] = {}
    os.environ[automations.NOTIFY] = "custom-webhook/mill"
    found["no block"] = message_of(automations.install_automations, ServiceError)
    os.environ[automations.NOTIFY] = "mill"
    found["no name"] = message_of(automations.install_automations, ServiceError)
    os.environ[automations.NOTIFY] = "secret/word"
    from prefect.blocks.system import Secret

    Secret(value="quiet").save("word", overwrite=True)
    found["mute"] = message_of(automations.install_automations, ServiceError)

    said = {"text": "{{subject}}\n{{body}}"}
    CustomWebhookNotificationBlock(name="mill", url=address, json_data=said).save("mill", overwrite=True)
    os.environ[automations.NOTIFY] = "custom-webhook/mill"
    found["created"], found["again"] = automations.install_automations(), automations.install_automations()
    [gate] = client.read_automations_by_name(automations.GATE)
    client.pause_automation(gate.id)
    found["mended"] = automations.install_automations()
    os.environ.pop(automations.NOTIFY)
    found["removed"] = automations.install_automations()
    found["left"] = [each.name for each in client.read_automations() if each.name.startswith(automations.PREFIX)]
    os.environ[automations.NOTIFY] = "custom-webhook/mill"
    automations.install_automations()

    @flow
    def broken() -> None:
        raise ValueError("the disk is full")

    @flow
    def gated() -> None:
        raise GateClosed("the corpus 'news' has moved")

    def told(name: str) -> bool:
        return any(f": {name} / " in message for message in messages)

    for each in (broken, gated):
        for _ in range(TRIES):
            if told(each.name):
                break
            each(return_state=True)
            wait_for(partial(told, each.name), SECONDS / TRIES)
    kinds = {message.partition(" / ")[0]: message for message in reversed(messages)}
    found["messages"] = sorted(kinds.values())
    return found


def deploy(folder: Path) -> None:
    """Four deployments of prefect.yaml, as `textmill up` deploys all."""
    create_work_pools()
    wanted = ("weekly-champion", "nightly-corpus", "nightly-gc", "pretrain")
    config = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    config["deployments"] = [each for each in config["deployments"] if each["name"] in wanted]
    far_from_now(config["deployments"])
    file = folder / "prefect.yaml"
    file.write_text(yaml.safe_dump(config))
    subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )


def planned() -> list[dict[str, Any]]:
    """What the server plans by itself, from the schedules of prefect.yaml."""

    def due() -> list[dict[str, Any]]:
        return [row for row in waiting() if row["at"]]

    wait_for(lambda: len(due()) >= 2)
    return due()


def suspended(client: SyncPrefectClient, mlflow: MlflowClient, store: Store, messages: list[str]) -> dict[str, Any]:
    """A run of the deployment ends at the question, and when it is resumed goes on to the promotion."""
    deployment = client.read_deployment_by_name("champion/weekly-champion")
    run = client.create_flow_run_from_deployment(deployment.id, parameters={"config": CONTEST}, name="the contest")
    found: dict[str, Any] = {"ended": [execute(client, run.id)], "first": state_of(client, run.id)}
    found["alias before"] = alias_of(mlflow)
    wait_for(lambda: any("Waits for your approval" in message for message in messages))
    found["message"] = sorted({message for message in messages if "Waits" in message})
    now = status(with_services=False)
    found["waiting"] = [row for row in now["prefect"]["waiting"] if row["id"] == str(run.id)]
    found["page"] = markdown(now)
    state = client.read_flow_run(run.id).state
    assert state is not None
    keyset = state.state_details.run_input_keyset or {}
    found["asked"] = json.loads(client.read_flow_run_input(run.id, keyset["schema"]))["properties"]
    found["described"] = json.loads(client.read_flow_run_input(run.id, keyset["description"]))
    client.resume_flow_run(run.id, run_input={"approve": True, "note": "good"})  # what the UI's dialog sends
    found["ended"].append(execute(client, run.id))
    found["second"] = state_of(client, run.id)
    found["alias after"] = alias_of(mlflow)
    champion, three = store.aliased("champion"), store.aliased("three")
    found["in the store"] = champion is not None and champion == three
    found["outcome"] = mlflow.get_model_version(MODEL, "2").tags["textmill.contest.outcome"]

    waits = client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=datetime.now(UTC)))
    for each in (Pending(), Running(), Suspended(timeout_seconds=1)):
        client.set_flow_run_state(waits.id, each)
    wait_for(lambda: state_of(client, waits.id)[0] != "Suspended")
    found["expired"] = state_of(client, waits.id)
    return found


def paused(client: SyncPrefectClient, mlflow: MlflowClient, messages: list[str]) -> dict[str, Any]:
    """Without a deployment the run waits in its process; here it is refused, and then nobody answers."""
    approval.POLL_SECONDS = 1
    mlflow.set_registered_model_alias(MODEL, "champion", "1")
    before = len(messages)
    states: list[Any] = []

    def contest(hours: float) -> threading.Thread:
        config = ChampionConfig.model_validate({**CONTEST, "approval": {"timeout_hours": hours}})
        thread = threading.Thread(target=lambda: states.append(champion_flow(config, return_state=True)))
        thread.start()
        return thread

    with redirect_stderr(io.StringIO()) as terminal:
        thread = contest(1.0)
        wait_for(lambda: bool(waiting("Paused")))
        given = {"approve": False, "note": "not on a Friday"}
        client.resume_flow_run(UUID(waiting("Paused")[0]["id"]), run_input=given)
        thread.join()
    outcome = lambda: mlflow.get_model_version(MODEL, "2").tags.get("textmill.contest.outcome")  # noqa: E731
    outcomes = [outcome()]
    contest(2 / 3600).join()
    outcomes.append(outcome())  # nobody answered: the refusal was another contest's
    recorded = [run["state"] for run in status(with_services=False)["runs"] if run["flow"] == "champion"][:2]
    found: dict[str, Any] = {"states": [(state.name, state.message) for state in states], "outcomes": outcomes}
    found["recorded"] = recorded  # the newest first
    found["alias"] = alias_of(mlflow)
    found["terminal"] = terminal.getvalue()
    found["refused"] = states[0].result()
    wait_for(lambda: any("Waits" in message for message in messages[before:]))

    free = ChampionConfig.model_validate({**CONTEST, "approval": {"required": False}})
    found["unasked"] = champion_flow(free)
    found["nothing to do"] = champion_flow(free)
    found["alias unasked"] = alias_of(mlflow)
    return found


def started(client: SyncPrefectClient, store: Store) -> dict[str, Any]:
    """A refresh starts the deployment `pretrain` once, whatever it is retried."""
    first, again = pretraining(store, "night"), pretraining(store, "night")
    run = client.read_flow_run(UUID(first))
    return {
        "same": first == again,
        "state": state_of(client, run.id)[0],
        "tags": sorted(run.tags),
        "config": run.parameters["config"]["name"],
    }


def collected(client: SyncPrefectClient, store: Store) -> dict[str, Any]:
    """A run of nightly-gc: what a killed build left goes, what has a name stays."""
    left, champion = store.partial / "numbers-0123", store.aliased("champion")
    left.mkdir()
    deployment = client.read_deployment_by_name("gc/nightly-gc")
    given = {"config": {"keep_runs": 1000, "grace_hours": 0}}
    run = client.create_flow_run_from_deployment(deployment.id, parameters=given)
    ended = execute(client, run.id, gc_flow)
    return {
        "ended": ended,
        "said": state_of(client, run.id)[1],
        "left": left.exists(),
        "champion": champion is not None and store.aliased("champion") == champion,
        "schedules": [each.active for each in deployment.schedules],
    }


def pretraining(store: Store, flow_run: str) -> str:
    with use_run(quiet(store, flow_run)):
        return start_pretraining(quickstart())


def missed_nights(client: SyncPrefectClient) -> list[str]:
    """Three nights for which no worker was there, taken up at once as one does that comes back; a fourth afterwards."""
    deployment = client.read_deployment_by_name("corpus-refresh/nightly-corpus")
    now = datetime.now(UTC)
    nights = [
        client.create_flow_run_from_deployment(
            deployment.id, state=Scheduled(scheduled_time=now - timedelta(days=days))
        )
        for days in (3, 2, 1)
    ]
    seen = []
    for night in nights:
        client.set_flow_run_state(night.id, Pending())
        seen.append(state_of(client, night.id)[0])
    client.set_flow_run_state(nights[0].id, Running())
    client.set_flow_run_state(nights[0].id, Completed())
    later = client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=now))
    client.set_flow_run_state(later.id, Pending())
    seen.append(state_of(client, later.id)[0])
    client.set_flow_run_state(later.id, Running())
    client.set_flow_run_state(later.id, Completed())
    return seen


def shared_gpu(store: Store) -> dict[str, Any]:
    """Three trainings on one GPU, and one on the processor that waits for nobody."""
    spans: list[tuple[str, float, float]] = []
    without_gpu = threading.Event()

    def train(device: str) -> None:
        with use_run(quiet(store, "training")), gpu_slot(device):
            begun = time.monotonic()
            if device == "cuda":
                without_gpu.wait(SECONDS)  # which ends while the GPU is taken
            time.sleep(0.1)
            spans.append((device, begun, time.monotonic()))
        if device == "cpu":
            without_gpu.set()

    threads = [threading.Thread(target=train, args=(device,)) for device in ("cuda", "cuda", "cuda", "cpu")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    limits = status(with_services=False)["prefect"]["limits"]
    return {"spans": spans, "limits": [limit for limit in limits if limit["name"] == limit_name()]}


def published(client: SyncPrefectClient) -> str:
    """The page as Prefect has it: one, whoever has brought it up to date."""
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    publish_status()
    [page] = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[PAGE_KEY])))
    found = status(with_services=False)["prefect"]["page"]
    assert found is not None
    assert found.endswith(f"/artifacts/artifact/{page.id}"), found
    return str(page.data)


def quiet(store: Store, flow_run: str) -> Run:
    return Run(store, Resources(workers=1, threads=1), Display(quiet=True), flow_run_id=flow_run)


def execute(client: SyncPrefectClient, flow_run: UUID, flow: Flow[Any, Any] = champion_flow) -> str:
    """As a worker's process does it, and from the beginning each time: `Suspended`, or the state in which it ended."""
    run = client.read_flow_run(flow_run)
    given = flow.validate_parameters(run.parameters)
    try:
        return str(run_flow(flow, flow_run=run, parameters=given, return_type="state").name)
    except Pause:
        return "Suspended"


if __name__ == "__main__":
    main()
