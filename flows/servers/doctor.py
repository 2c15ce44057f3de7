"""`textmill doctor`: is this machine fit to run, and if not, what to do about it."""

import fcntl
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import psutil

from flows.servers import doctor_team, services
from flows.servers.findings import Check, State
from flows.servers.processes import Record
from lm.hardware import resolve_device, resolve_precision
from tasks.lineage.gc import is_being_built
from tasks.machine import home
from tasks.running.run import usable_cores
from tasks.store import Store

PYTHON_AT_LEAST = (3, 11)
FREE_DISK_WARN, FREE_DISK_FAIL = 10e9, 1e9
"""Bytes. The quickstart writes well under 1 GB; a corpus of n bytes takes about 4 n with all its stages."""
MEMORY_WARN = 6e9
"""Bytes available. The servers take 0.8 GB, a stage up to 3 GB."""


def doctor() -> list[Check]:
    """Look at everything that has been seen to go wrong. Changes nothing; takes some ten seconds."""
    findings: list[Check] = []
    for check in CHECKS:
        findings.extend(check())
    return findings


def python_version() -> Iterator[Check]:
    """Python is new enough."""
    found = ".".join(map(str, sys.version_info[:3]))
    enough = sys.version_info[:2] >= PYTHON_AT_LEAST
    yield Check("python", "ok" if enough else "fail", found, "" if enough else "install Python 3.11 or newer")


def locked_versions() -> Iterator[Check]:
    """The installed packages are those of requirements.lock."""
    lock = Path(__file__).parents[2] / "requirements.lock"
    if not lock.is_file():
        yield Check("packages", "warn", "no requirements.lock", "work in a checkout to have tested versions")
        return
    wrong = []
    for name, version in read_lock(lock).items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        if found.split("+")[0] != version:  # torch's local version (+cpu, +cu130) is the machine's choice
            wrong.append(f"{name} is {found}, tested with {version}")
    if wrong:
        yield Check("packages", "warn", "; ".join(wrong), "make setup")
    else:
        yield Check("packages", "ok", "as in requirements.lock")


def read_lock(path: Path) -> dict[str, str]:
    """`{"torch": "2.13.0", ...}` from the `name==version` lines of a lock file."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", path.read_text(), flags=re.MULTILINE)
    return dict(pins)


def prefect_server_imports() -> Iterator[Check]:
    """The Prefect server can be imported. With a fastapi that is too new it cannot, and pip sees nothing."""
    done = subprocess.run(
        [sys.executable, "-c", "import prefect.server.api.server"], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        yield Check("prefect server", "ok", f"prefect {metadata.version('prefect')} can start")
    else:
        last_line = (done.stderr.strip() or "no message").splitlines()[-1]
        advice = f"fastapi is {metadata.version('fastapi')}: make setup (installs one that fits)"
        yield Check("prefect server", "fail", f"does not import: {last_line}", advice)


def prefect_schedules() -> Iterator[Check]:
    """Prefect creates the runs that schedules ask for. With SQLAlchemy 2.1 it cannot, and says so in its log only."""
    version = metadata.version("sqlalchemy")
    if tuple(map(int, version.split(".")[:2])) < (2, 1) or not metadata.version("prefect").startswith("3.8."):
        yield Check("schedules", "ok", f"SQLAlchemy {version}")
    else:
        found = f"SQLAlchemy {version}: Prefect's scheduler fails with it, no scheduled run is ever created"
        yield Check("schedules", "fail", found, "make setup (installs one below 2.1)")


def home_folder() -> Iterator[Check]:
    """Home is writable, its file system has room, and locks work on it."""
    folder = home.home()
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    advice = "set TEXTMILL_HOME to a folder on a local disk that you may write to"
    try:
        with tempfile.NamedTemporaryFile(dir=parent) as probe, open(probe.name) as other:
            fcntl.flock(probe, fcntl.LOCK_EX)
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield Check("home", "ok", f"{folder} is writable, locks work")
            else:
                yield Check("home", "fail", f"{folder}: two processes can hold one lock (flock)", advice)
    except OSError as error:
        yield Check("home", "fail", f"{folder} cannot be used: {error}", advice)
    free = shutil.disk_usage(parent).free
    state: State = "fail" if free < FREE_DISK_FAIL else "warn" if free < FREE_DISK_WARN else "ok"
    advice = "" if state == "ok" else "free some, run `textmill gc`, or set TEXTMILL_HOME to a larger disk"
    yield Check("disk", state, f"{free / 1e9:.1f} GB free at {parent}", advice)


def memory() -> Iterator[Check]:
    """Enough memory is available."""
    available = psutil.virtual_memory().available
    state: State = "ok" if available >= MEMORY_WARN else "warn"
    advice = "" if state == "ok" else "close what you can, or use fewer workers in the config"
    yield Check("memory", state, f"{available / 1e9:.1f} GB available", advice)


def servers() -> Iterator[Check]:
    """Each service answers, or its port is free to start it; no pid file speaks of a dead process."""
    for name, found in services.status().items():
        where = f"at {found['url']}" if found["url"] else f"pid {found['pid']}"
        state = found["state"]
        if state in ("running", "external"):
            yield Check(name, "ok", f"{state} {where}")
        elif state == "starting":
            yield Check(name, "warn", f"process {found['pid']} lives but does not answer", f"see {found['log']}")
        elif state == "unreachable":
            yield Check(name, "fail", f"no answer {where}", "start that server, or unset its variable")
        else:
            yield from _stopped(name)


def _stopped(name: str) -> Iterator[Check]:
    file = home.services_path() / f"{name}.pid"
    if file.exists() and Record(**json.loads(file.read_text())).process() is None:
        log = services.log_file(name)
        yield Check(name, "warn", f"it ended without `down` ({file.name} is left over)", f"make up; see {log}")
    elif name in services.SERVERS and not home.port_is_free(home.DEFAULT_PORTS[name]):
        detail = f"stopped; someone else has port {home.DEFAULT_PORTS[name]}, another will be used"
        yield Check(name, "ok", detail)
    else:
        starts = "`textmill run` and `make up` start it" if name in services.SERVERS else "`make up` starts it"
        yield Check(name, "ok", f"stopped; {starts}")


def interrupted_builds() -> Iterator[Check]:
    """Builds whose process is gone: the next run goes on with them."""
    if not home.store_path().is_dir():
        yield Check("builds", "ok", "none yet")
        return
    store = Store(home.store_path())
    building = list(store.partial.iterdir())
    left = sorted(path.name for path in building if not is_being_built(store, path))
    if left:
        listed = ", ".join(left[:5]) + (" ..." if len(left) > 5 else "")
        yield Check("builds", "warn", f"{len(left)} interrupted: {listed}", "run again to go on, or `textmill gc`")
    else:
        yield Check("builds", "ok", f"none interrupted, {len(building)} at work")


def torch_device() -> Iterator[Check]:
    """Torch loads, and what it computes on."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a CUDA build without its libraries
        yield Check("torch", "fail", f"does not import: {error}", "make setup")
        return
    device = resolve_device("auto")
    bf16 = "bf16" if resolve_precision("auto", device) == "bf16" else "no bf16"
    threads, cores = torch.get_num_threads(), usable_cores()
    where = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {threads} threads"
    detail = f"{torch.__version__} on {where}, {bf16}"
    if threads > cores:
        advice = f"set OMP_NUM_THREADS={cores}: this process may use {cores} cores only"
        yield Check("torch", "warn", detail, advice)
    else:
        yield Check("torch", "ok", detail)


CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    python_version,
    locked_versions,
    prefect_server_imports,
    prefect_schedules,
    home_folder,
    memory,
    servers,
    doctor_team.team_stack,
    interrupted_builds,
    torch_device,
)
