"""`textmill up`: servers, deployments, automations, limits and a worker."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from flows import services
from flows.automations import install_automations
from tasks import home
from tasks.gpu import create_limits


def up() -> dict[str, dict[str, object]]:
    """Start both servers, deploy everything in `prefect.yaml`, install automations and limits, start the worker.

    Running it again changes nothing, except that it deploys again what has changed since. Returns
    `services.status()`.

    Raises:
        services.ServiceError: a service does not start, `prefect deploy` fails, or a variable names what is not there.
    """
    services.ensure(*services.SERVERS, wait=False)
    services.ensure("prefect")
    create_work_pool()
    deploy(checkout())
    install_automations()
    try:
        create_limits()
    except ValueError as error:
        raise services.ServiceError(str(error)) from error
    services.ensure(*services.SERVICES)
    return services.status()


def checkout() -> Path:
    """The folder of our `prefect.yaml`: the nearest one above the working directory, or that of this file."""
    found = home.checkout_above(Path.cwd()) or home.checkout_above(Path(__file__).parents[1])
    if found is not None:
        return found
    raise services.ServiceError("no prefect.yaml here or above: run this in a checkout of Textmill")


def enter_checkout() -> dict[str, str]:
    """The pull step of `prefect.yaml`: make the checkout the working directory of the flow run.

    It is looked up on the worker when the run starts (TEXTMILL_CHECKOUT, which `up` hands to its worker,
    else where this package is installed from), so that a deployment survives a moved checkout.
    """
    folder = os.environ.get("TEXTMILL_CHECKOUT") or str(Path(__file__).parents[1])
    os.chdir(folder)
    return {"directory": folder}


def create_work_pool() -> bool:
    """Create the process work pool unless it is there. Returns whether it was created."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    pool = WorkPoolCreate(name=services.WORK_POOL, type="process", base_job_template=template)
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(services.WORK_POOL)
            return False
        except ObjectNotFound:
            pass
        try:
            client.create_work_pool(pool)
            return True
        except ObjectAlreadyExists:  # by another process, just now
            return False


def deploy(root: Path) -> bool:
    """`prefect deploy --all` in a checkout; skipped (False) if neither code nor server has changed since."""
    os.environ["TEXTMILL_CHECKOUT"] = str(root)
    note = home.services_path() / "deployed.json"
    wanted = {"url": services.url("prefect"), "code": _code_hash(root)}
    if note.exists() and json.loads(note.read_text()) == wanted and _all_deployed(root):
        return False
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    log = services.log_file("deploy")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        done = subprocess.run(
            command, cwd=root, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode != 0:
        tail = log.read_text(errors="replace")[-3000:]
        raise services.ServiceError(f"`prefect deploy --all` failed in {root}:\n{tail}")
    note.write_text(json.dumps(wanted))
    return True


def _all_deployed(root: Path) -> bool:
    import yaml
    from prefect.client.orchestration import get_client

    wanted = {entry["name"] for entry in yaml.safe_load((root / "prefect.yaml").read_text())["deployments"]}
    with get_client(sync_client=True) as client:
        return wanted <= {deployment.name for deployment in client.read_deployments()}


def _code_hash(root: Path) -> str:
    """Changes with anything that shapes a deployment: schedules, and the flows' parameters and docstrings."""
    digest = hashlib.sha256()
    packages = ("flows", "tasks", "data_quality", "lm")
    sources = [path for package in packages for path in (root / package).rglob("*.py")]
    for path in sorted([root / "prefect.yaml", *sources]):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
