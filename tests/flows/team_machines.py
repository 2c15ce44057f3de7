"""Three machines in one: a server and two workers, each in a network namespace of its own where this machine allows
that, with a home, a working copy and an environment of its own; and S3 beside them."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests import s3 as moto
from tests.flows.far_schedules import far_from_now

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = ("textmill", "nightly-corpus")
CODE = ("flows", "tasks", "lm", "data_quality", "configs")


@dataclass
class Machine:
    """Where commands run as a user of that machine would run them."""

    name: str
    prefix: Sequence[str]
    """Before each command: enters the machine's network namespace."""

    checkout: Path
    home: Path
    environment: dict[str, str]

    def python(self, *arguments: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python with the machine's environment and in its working copy."""
        done = subprocess.run(
            [*self.prefix, sys.executable, *arguments],
            cwd=self.checkout,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{self.name}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done

    def textmill(self, *arguments: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Textmill."""
        return self.python("-m", "flows.cli.main", *arguments, check=check, **variables)


@contextmanager
def folder_for_all() -> Iterator[Path]:
    """A folder that PostgreSQL's user can reach; pytest's own are private, and PostgreSQL does not run as root."""
    place = os.environ.get("PYTEST_DEBUG_TEMPROOT")
    folder = Path(tempfile.mkdtemp(prefix="textmill-team-", dir=place))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def network(names: Sequence[str]) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """An address that all machines reach, and for each what enters its namespace; loopback and nothing without root."""
    mark, subnet = f"tm{os.getpid() % 10**6}", f"10.213.{os.getpid() % 250}"
    made: list[list[str]] = []

    def ip(*arguments: str, undo: Sequence[str] = ()) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)
        if undo:
            made.append(["ip", *undo])

    try:
        prefixes: dict[str, list[str]] = {}
        try:
            ip("link", "add", mark, "type", "bridge", undo=("link", "del", mark))
            ip("addr", "add", f"{subnet}.1/24", "dev", mark)
            ip("link", "set", mark, "up")
            for number, name in enumerate(names):
                space, outer, inner = f"{mark}{name}", f"{mark}o{number}", f"{mark}i{number}"
                ip("netns", "add", space, undo=("netns", "del", space))
                ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", space)
                ip("link", "set", outer, "master", mark, "up")
                inside = ["netns", "exec", space, "ip"]
                ip(*inside, "addr", "add", f"{subnet}.{number + 2}/24", "dev", inner)
                ip(*inside, "link", "set", inner, "up")
                ip(*inside, "link", "set", "lo", "up")
                prefixes[name] = ["ip", "netns", "exec", space]
        except (OSError, subprocess.CalledProcessError):
            yield "127.0.0.1", {name: [] for name in names}
            return
        yield f"{subnet}.1", prefixes
    finally:
        for command in reversed(made):
            subprocess.run(command, check=False, capture_output=True)


@contextmanager
def s3(address: str) -> Iterator[dict[str, str]]:
    """An S3 server with a bucket `team`, and the environment of those who use it."""
    import s3fs

    # in a network of our own nobody else has the port
    with moto.served(address, None if address == moto.LOOPBACK else 9123) as port:
        variables = moto.environment(port, address, "team", "canary-of-the-store-Zk41")
        s3fs.S3FileSystem(
            key=variables["AWS_ACCESS_KEY_ID"],
            secret=variables["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=variables["AWS_ENDPOINT_URL"],
        ).mkdir("team")
        yield variables


def working_copy(target: Path) -> Path:
    """A checkout of its own, with what Python and numba have compiled already, and two deployments: all take long."""
    target.mkdir()
    for name in CODE:
        shutil.copytree(ROOT / name, target / name)
    config = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    config["deployments"] = [entry for entry in config["deployments"] if entry["name"] in DEPLOYMENTS]
    far_from_now(config["deployments"])
    (target / "prefect.yaml").write_text(yaml.safe_dump(config))
    return target


@contextmanager
def three_machines() -> Iterator[tuple[Machine, Machine, Machine]]:
    """A server (no workers of its own), and two machines for workers that know its address and passwords only when
    the server is up (`introduce`). Whatever was started on them is ended."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    libraries = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    with ExitStack() as stack:
        folder = stack.enter_context(folder_for_all())
        address, prefixes = stack.enter_context(network(("one", "two")))
        common = {**inherited, **stack.enter_context(s3(address)), "OMP_NUM_THREADS": "1"}
        common |= {"TEXTMILL_STORE": "s3://team/store", "TEXTMILL_STACK": "team"}
        machines = []
        for name, cpu, gpu in (("server", 0, 0), ("one", 1, 0), ("two", 0, 1)):
            checkout, home = working_copy(folder / f"{name}-code"), folder / f"{name}-home"
            variables = {"TEXTMILL_HOME": str(home), "PYTHONPATH": os.pathsep.join([str(checkout), *libraries])}
            variables |= {"TEXTMILL_CPU_WORKERS": str(cpu), "TEXTMILL_GPU_WORKERS": str(gpu)}
            machines.append(Machine(name, prefixes.get(name, []), checkout, home, common | variables))
        server, one, two = machines
        server.environment |= {"TEXTMILL_LISTEN": address, "TEXTMILL_ARTIFACTS": "s3://team/mlflow"}
        server.environment |= {"TEXTMILL_POSTGRES_DATA": str(folder / "postgres")}
        try:
            yield server, one, two
        finally:
            for machine in (one, two, server):
                machine.textmill("down", check=False)


def introduce(server: Machine, worker: Machine) -> None:
    """Give a worker's machine the addresses of the servers and a client's passwords, no others."""
    from tasks.machine import credentials

    address = server.environment["TEXTMILL_LISTEN"]
    ports = json.loads((server.home / "services/ports.json").read_text())
    worker.environment["PREFECT_API_URL"] = f"http://{address}:{ports['prefect']}/api"
    worker.environment["MLFLOW_TRACKING_URI"] = f"http://{address}:{ports['mlflow']}"
    secrets = credentials.for_clients(credentials.read(server.home / "services/secrets.env"))
    file = worker.home.with_suffix(".secrets")
    file.touch(mode=0o600)
    file.write_text("".join(f"{name}={value}\n" for name, value in secrets.items()))
    worker.environment["TEXTMILL_SECRETS"] = str(file)
