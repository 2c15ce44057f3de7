"""What all tests share: an environment put back after each; one Prefect server, one S3 server, one MLflow
database and one process that forks others, for those in need."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests import s3
from tests.asked import Ask, asked

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROOT = Path(__file__).parents[1]

# What a clock says fails no test: machines are busy.
settings.register_profile("textmill", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("textmill")

MEMORY, ROOM = Path("/dev/shm"), 4 * 2**30
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    # Stores and checkpoints flush each file, thousands in all: a test need not wait for a disk. Pytest asks for this.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


_START = """
import json, os, sys
from tasks.machine import home
home.remember_port("prefect", int(sys.argv[1]))
from flows.servers import services
services.ensure("prefect")
print(json.dumps({name: os.environ[name] for name in ("PREFECT_HOME", "PREFECT_API_URL")}))
"""
_STOP = "from flows.servers import services; services.down()"


LONG = 1200
"""Seconds for a test that waits for servers or for processes that it breaks: more than any of its waits by itself."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Some waits are longer than the limit of other tests. These tests come first, so that no process is left alone
    at the end with one of minutes."""
    for item in items:
        long = item.get_closest_marker("server") or ROOT / "tests/chaos" in item.path.parents
        if long and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LONG))
    limits = {item: limit.args[0] for item in items if (limit := item.get_closest_marker("timeout"))}
    items.sort(key=lambda item: -limits.get(item, 0))


@pytest.fixture(autouse=True)
def environment_is_restored() -> Iterator[None]:
    """What a test sets, or the command line sets in its place, must not reach the next test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def prefect_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a process that shall use the session's Prefect server.

    The server is started and stopped by other processes, so that this one's environment stays as it is. It has a
    home of its own, and a port that the system offers, so that several sessions can run side by side.
    """
    home = tmp_path_factory.mktemp("prefect-home")
    environment = {**os.environ, "TEXTMILL_HOME": str(home), "PYTHONPATH": str(ROOT)}
    for name in ("PREFECT_HOME", "PREFECT_API_URL", "MLFLOW_TRACKING_URI", "TEXTMILL_MANAGED"):
        environment.pop(name, None)
    port = str(s3.free_port())
    try:
        started = subprocess.run(
            [sys.executable, "-c", _START, port], env=environment, capture_output=True, text=True, check=False
        )
        assert started.returncode == 0, started.stderr
        yield environment | json.loads(started.stdout.splitlines()[-1])
    finally:
        subprocess.run([sys.executable, "-c", _STOP], env=environment, check=True, capture_output=True)


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """fork_server(**request): what `tests.lm.fork_server` answers."""
    settings = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    # Not as a module of its own: a spawned worker would import it again.
    command = [sys.executable, "-c", "from tests.lm.fork_server import main; main()"]
    folder = tmp_path_factory.mktemp("forked")
    with asked([*command, str(folder)], os.environ | settings, ROOT) as ask:
        yield ask


@pytest.fixture(scope="session")
def stranger() -> Iterator[Callable[..., str]]:
    """stranger(script, *arguments, folder="/"): what a script prints in a process that knows nothing of Textmill."""
    pytest.importorskip("transformers")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    settings = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-P", str(ROOT / "tests/stranger.py")]
    with asked(command, environment | settings, Path("/")) as ask:

        def run(script: str, *arguments: str, folder: Path | str = "/") -> str:
            return str(ask(script=script, arguments=arguments, folder=str(folder))["output"])

        yield run


@pytest.fixture(scope="session")
def s3_server() -> Iterator[dict[str, str]]:
    """The environment for an S3 server (moto's, over HTTP) on a port of its own that lasts for the session."""
    with s3.served() as port:
        yield s3.environment(port)


@pytest.fixture
def bucket(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket; the credentials are in the environment."""
    import s3fs

    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    name = f"test-{uuid.uuid4().hex}"
    s3fs.S3FileSystem().mkdir(name)
    return f"s3://{name}"


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new MLflow database: made once by a process, since its migrations take seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def client(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "MlflowClient":
    """A client of a database of its own."""
    import mlflow
    from mlflow import MlflowClient

    shutil.copy(empty_database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)  # artifacts go to ./mlruns
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return MlflowClient(uri)
