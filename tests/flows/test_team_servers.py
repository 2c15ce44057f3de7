"""A team's stack for real: PostgreSQL, S3, passwords, two workers on separate machines, a backup and its restore."""

import base64
import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from flows.config.loading import CONFIGS
from flows.config.pipeline import load_config
from flows.servers.processes import end_tree
from tasks.machine import credentials
from tests import settled
from tests.flows.team_machines import Machine, introduce, three_machines
from tests.flows.test_services import runs

pytest.importorskip("psycopg2")
pytest.importorskip("flask_wtf")

HAS_POSTGRES = bool(list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))) or shutil.which("initdb") is not None

RUN = """
import json, runpy, sys
from tasks.machine import home
home.configure_environment()
settled = runpy.run_path(sys.argv[3])["settled"]  # a working copy has no tests
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
run = run_deployment(sys.argv[1], parameters={"config": json.load(open(sys.argv[2]))}, timeout=900)
with get_client(sync_client=True) as client:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    only = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
    ask = lambda: {t.name: t.state.name for t in client.read_task_runs(flow_run_filter=only, limit=200) if t.state}
    tasks = settled(ask)
    run = client.read_flow_run(run.id)
print(json.dumps({
    "state": run.state.name, "message": run.state.message, "pool": run.work_pool_name,
    "tasks": tasks,
}))
"""

FOUND = """
import json
from tasks.machine import home
home.configure_environment()
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from tasks.storage.shared import open_store
client = MlflowClient()
experiment = client.get_experiment_by_name("textmill")
runs = client.search_runs([experiment.experiment_id], max_results=1000)
with get_client(sync_client=True) as prefect:
    all_runs = prefect.read_flow_runs(limit=200)
store = open_store()
model = store.checked("pretrain")
print(json.dumps({
    "mlflow": sorted((run.info.run_name, run.info.status, sorted(run.data.metrics)) for run in runs),
    "files": sorted(f"{r.info.run_id}/{file.path}" for r in runs for file in client.list_artifacts(r.info.run_id)),
    "prefect": sorted((run.name, run.state.name) for run in all_runs if not run.auto_scheduled),
    "scheduled": sorted({run.state.name for run in all_runs if run.auto_scheduled}),
    "model": model.digest,
    "stages": sorted({stage for stage, _, _ in store.remote.published()}),
}))
"""


@pytest.mark.server
@pytest.mark.timeout(1800)  # on a machine with much else to do
@pytest.mark.skipif(not HAS_POSTGRES, reason="needs PostgreSQL's programs")
def test_a_team_works_is_guarded_and_is_restored(tmp_path: Path) -> None:
    """One test, as the servers take half a minute to start."""
    with three_machines() as (server, one, two), ExitStack() as stack:
        first = up(server)
        for machine in (one, two):
            introduce(server, machine)
        one.textmill("up")
        worker = stack.enter_context(in_the_foreground(two, "worker-gpu-1"))
        secrets = credentials.read(server.home / "services/secrets.env")
        secrets |= {"store": server.environment["AWS_SECRET_ACCESS_KEY"]}
        starting_again_changes_nothing(server, first)
        each_machine_does_its_kind_of_work(one, two, tmp_path)
        nobody_gets_in_without_the_password(server, one, secrets)
        secrets_are_nowhere((server, one, two), secrets, tmp_path)
        one.textmill("down")
        end_tree(psutil.Process(worker.pid))
        what_is_lost_comes_back(server, tmp_path)
        pids = [found["pid"] for found in up(server).values() if found["pid"]]
        server.textmill("down")
        assert not [pid for pid in pids if runs(pid)]
        assert not list((server.home / "services").glob("*.pid"))


@contextmanager
def in_the_foreground(machine: Machine, service: str) -> Iterator[subprocess.Popen[bytes]]:
    """A service as a container runs it."""
    log = (machine.home.with_suffix(".log")).open("wb")
    command = [*machine.prefix, sys.executable, "-m", "flows.cli.main", "service", service]
    process = subprocess.Popen(
        command, cwd=machine.checkout, env=machine.environment, stdout=log, stderr=subprocess.STDOUT
    )
    try:
        yield process
    finally:
        log.close()
        if process.poll() is None:
            end_tree(psutil.Process(process.pid))
        process.wait()


def up(machine: Machine) -> dict[str, dict[str, Any]]:
    """Start it; what `status` then says of its services."""
    machine.textmill("up")
    found: dict[str, dict[str, Any]] = json.loads(machine.textmill("status", "--json").stdout)["services"]
    assert {service["running"] for service in found.values()} == {True}
    return found


def starting_again_changes_nothing(server: Machine, first: dict[str, dict[str, Any]]) -> None:
    assert list(first) == ["postgres", "prefect", "mlflow"]
    again = up(server)
    assert {name: found["pid"] for name, found in again.items()} == {name: f["pid"] for name, f in first.items()}
    assert oct((server.home / "services/secrets.env").stat().st_mode & 0o777) == "0o600"


def each_machine_does_its_kind_of_work(one: Machine, two: Machine, folder: Path) -> None:
    """The corpus on the one, the whole quickstart on the other, which finds the corpus in S3."""
    config = load_config(CONFIGS / "quickstart-small.yaml").smoke().model_dump(mode="json")
    config["resources"] |= {"workers": 1, "threads": 1}
    config["refresh"]["pretrain_above"] = None  # the quickstart below pretrains
    (folder / "config.json").write_text(json.dumps(config))
    corpus = run(one, "corpus-refresh/nightly-corpus", folder)
    assert (corpus["state"], corpus["pool"]) == ("Completed", "cpu"), corpus["message"]
    assert "Cached" not in corpus["tasks"].values()
    whole = run(one, "textmill/textmill", folder)
    assert (whole["state"], whole["pool"]) == ("Completed", "gpu"), whole["message"]
    cached = {name for name, state in whole["tasks"].items() if state == "Cached"}
    assert cached >= set(corpus["tasks"])
    assert {"pretrain", "report"} <= set(whole["tasks"]) - cached
    # each wrote into its own home only
    assert not (one.home / "store/artifacts/pretrain").exists()
    assert (two.home / "store/artifacts/pretrain").exists()


def run(machine: Machine, deployment: str, folder: Path) -> dict[str, Any]:
    """Run a deployment as somebody on that machine would; what Prefect says of it."""
    done = machine.python("-c", RUN, deployment, str(folder / "config.json"), settled.__file__)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def nobody_gets_in_without_the_password(server: Machine, one: Machine, secrets: dict[str, str]) -> None:
    prefect, mlflow = one.environment["PREFECT_API_URL"], one.environment["MLFLOW_TRACKING_URI"]
    right = secrets[credentials.PREFECT]
    both = f"{secrets[credentials.MLFLOW_USER]}:{secrets[credentials.MLFLOW_PASSWORD]}"
    search = "/api/2.0/mlflow/experiments/search?max_results=5"
    for url, password in ((f"{prefect}/admin/version", right), (f"{mlflow}{search}", both)):
        assert status(url) == 401
        assert status(url, f"{password}x") == 401
        assert status(url, password) == 200
    assert status(f"{mlflow}{search}", both, host="evil.example") == 403
    assert status(f"{prefect}/health") == status(f"{mlflow}/health") == 200

    wrong = one.textmill("up", check=False, PREFECT_API_AUTH_STRING="textmill:guess")
    assert wrong.returncode == 1
    assert "refuses us: set PREFECT_API_AUTH_STRING=user:password" in " ".join(wrong.stderr.split())
    url = f"postgresql://textmill@127.0.0.1:{json.loads((server.home / 'services/ports.json').read_text())['postgres']}"
    code = f"from flows.servers import postgres; postgres.connect({url!r})"
    wrong = server.python("-c", code, check=False, PGPASSWORD="guess")
    assert "password authentication failed" in wrong.stderr
    others = ["ss", "-ltnH"] if shutil.which("ss") else None
    if others:  # PostgreSQL listens on loopback only
        port = url.rpartition(":")[2]
        listening = subprocess.run(others, capture_output=True, text=True, check=True).stdout
        assert {line.split()[3] for line in listening.splitlines() if line.split()[3].endswith(f":{port}")} == {
            f"127.0.0.1:{port}"
        }


def status(url: str, password: str | None = None, host: str | None = None) -> int:
    """Of a GET request with basic authentication."""
    parts = urlsplit(url)
    headers = {"Host": host} if host else {}
    if password is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(password.encode()).decode()
    connection = http.client.HTTPConnection(parts.netloc, timeout=240)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def secrets_are_nowhere(machines: tuple[Machine, ...], secrets: dict[str, str], folder: Path) -> None:
    """Not in process lists, files of the homes, objects of the store or rows of the databases."""
    import s3fs

    values = {name: value for name, value in secrets.items() if name != credentials.MLFLOW_USER}
    values["prefect password"] = values[credentials.PREFECT].partition(":")[2]
    assert all(len(value) > 20 for value in values.values())
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert any("mlflow server" in line and "basic-auth" in line for line in lines)
    assert not named_in("\n".join(lines).encode(), values)

    files = [path for machine in machines for path in machine.home.rglob("*") if path.is_file()]
    assert any(path.name == "prefect.log" for path in files)
    leaks = {path: named_in(path.read_bytes(), values) for path in files if path.name != "secrets.env"}
    assert not {str(path): found for path, found in leaks.items() if found}

    server = machines[0]
    fs = s3fs.S3FileSystem(
        key=server.environment["AWS_ACCESS_KEY_ID"],
        secret=server.environment["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=server.environment["AWS_ENDPOINT_URL"],
    )
    objects = fs.find("team")
    assert any(name.startswith("team/mlflow/") for name in objects)
    assert any(name.startswith("team/store/manifests/pretrain/") for name in objects)
    assert not {name: found for name, content in fs.cat(objects).items() if (found := named_in(content, values))}

    server.textmill("backup", str(folder / "dumps"))
    for dump in sorted((folder / "dumps/databases").glob("*.dump")):
        plain = subprocess.run(["pg_restore", "--file=-", dump], capture_output=True, check=True).stdout
        assert b"CREATE TABLE" in plain
        assert not named_in(plain, values), dump.name


def named_in(content: bytes, values: dict[str, str]) -> list[str]:
    """The names of the secrets that stand in some bytes, plain or as HTTP sends them."""
    return [
        name
        for name, value in values.items()
        if value.encode() in content or base64.b64encode(value.encode()).rstrip(b"=")[:-2] in content
    ]


def what_is_lost_comes_back(server: Machine, folder: Path) -> None:
    import s3fs

    before = json.loads(server.python("-c", FOUND).stdout.splitlines()[-1])
    assert {state for _, state in before["prefect"]} == {"Completed"}
    assert before["scheduled"] == ["Scheduled"]
    assert {status for _, status, _ in before["mlflow"]} == {"FINISHED"}
    assert before["files"]
    assert {"pretrain", "filter_corpus"} <= set(before["stages"])
    backup = str(folder / "backup")
    server.textmill("backup", backup, "--objects")
    assert "; 0 objects copied" in server.textmill("backup", backup, "--objects").stdout
    refused = server.textmill("restore", backup, check=False)
    assert "prefect, mlflow run: `textmill down` first" in refused.stderr
    server.textmill("down")

    shutil.rmtree(Path(server.environment["TEXTMILL_POSTGRES_DATA"]))
    shutil.rmtree(server.home / "store")
    fs = s3fs.S3FileSystem(
        key=server.environment["AWS_ACCESS_KEY_ID"],
        secret=server.environment["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=server.environment["AWS_ENDPOINT_URL"],
    )
    fs.rm("team/store", recursive=True)
    fs.rm("team/mlflow", recursive=True)
    server.textmill("restore", backup)
    refused = server.textmill("restore", backup, check=False)
    assert "are not empty; --replace" in refused.stderr
    up(server)
    assert json.loads(server.python("-c", FOUND).stdout.splitlines()[-1]) == before
    assert os.stat(folder / "backup").st_mode & 0o077 == 0
