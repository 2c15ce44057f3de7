"""`textmill up`: servers, deployments, automations, limits and a worker."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from data_quality.plain_yaml import load_yaml
from flows.config.addresses import shown
from flows.servers import services, ui_edits
from flows.servers.automations import install_automations
from tasks.machine import home
from tasks.running.gpu import create_limits

ATTEMPTS = 3
BUSY = "Service Unavailable"  # what Prefect answers while its database is locked for longer than it waits


def up() -> dict[str, dict[str, object]]:
    """Start both servers, deploy everything in `prefect.yaml`, install automations and limits, start the worker.

    With a team's stack (`team.choose` has noted it), PostgreSQL and the workers of its pools; on a machine that finds
    Prefect elsewhere, its workers only. Running it again changes nothing, except that it deploys again what has changed
    since. Returns `services.status()`.

    Raises:
        services.ServiceError: a service does not start, `prefect deploy` fails, or a variable names what is not there.
        CredentialsError: passwords that cannot be used.
    """
    home.configure_environment()
    services.end_others()
    services.ensure(*services.SERVERS, wait=False)
    services.ensure("prefect")
    if home.team_note().exists() and not home.is_managed("PREFECT_API_URL"):
        os.environ["TEXTMILL_CHECKOUT"] = str(checkout())  # what the machine with the servers deployed runs here
        create_work_pools()
    else:
        register()
    services.ensure(*services.names())
    return services.status()


def register() -> None:
    """Tell the Prefect server that the environment names of the work pools, deployments, automations and limits."""
    create_work_pools()
    deploy(checkout())
    install_automations()
    try:
        create_limits()
    except ValueError as error:
        raise services.ServiceError(str(error)) from error


def checkout() -> Path:
    """The folder of our `prefect.yaml`: the nearest one above the working directory, or that of this file."""
    found = home.checkout_above(Path.cwd()) or home.checkout_above(Path(__file__).parents[2])
    if found is not None:
        return found
    raise services.ServiceError("no prefect.yaml here or above: run this in a checkout of Textmill")


def enter_checkout() -> dict[str, str]:
    """The pull step of `prefect.yaml`: make the checkout the working directory of the flow run.

    It is looked up on the worker when the run starts (TEXTMILL_CHECKOUT, which `up` hands to its worker,
    else where this package is installed from), so that a deployment survives a moved checkout.
    """
    folder = os.environ.get("TEXTMILL_CHECKOUT") or str(Path(__file__).parents[2])
    os.chdir(folder)
    return {"directory": folder}


def create_work_pools() -> list[str]:
    """Create the process work pools of this home's stack unless they are there. Returns those created."""
    return [name for name in services.work_pools() if _create_work_pool(name)]


def _create_work_pool(name: str) -> bool:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    pool = WorkPoolCreate(name=name, type="process", base_job_template=template)
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(name)
            return False
        except ObjectNotFound:
            pass
        try:
            client.create_work_pool(pool)
            return True
        except ObjectAlreadyExists:  # by another process, just now
            return False


def deploy(root: Path) -> bool:
    """`prefect deploy --all` in a checkout; skipped (False) if neither code nor server has changed since.

    What was changed in the Prefect UI meanwhile stays (`ui_edits`).
    """
    os.environ["TEXTMILL_CHECKOUT"] = str(root)
    note = home.services_path() / "deployed.json"
    pools = services.work_pools()
    wanted = {"url": shown(services.url("prefect")), "code": _code_hash(root), "pools": list(pools)}
    last = json.loads(note.read_text()) if note.exists() else {}
    before, pending = last.pop("deployments", {}), last.pop("pending", {})
    if last == wanted and _all_deployed(root):
        return False
    edited = {**pending, **ui_edits.edits(before)}
    if edited:  # a deployment that fails half way, or is killed, has taken some of them back already
        note.write_text(json.dumps({"deployments": before, "pending": edited}))
    _prefect_deploy(root, pools)
    deployed = ui_edits.as_deployed(root)
    ui_edits.put_back(edited, before, root)
    note.write_text(json.dumps({**wanted, "deployments": deployed}))
    return True


def _prefect_deploy(root: Path, pools: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    if "cpu" in pools:
        command += ["--prefect-file", str(deployments_by_pool(root, pools))]
    log = services.log_file("deploy")
    log.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(ATTEMPTS):
        with log.open("wb") as output:
            done = subprocess.run(
                command, cwd=root, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
            )
        if done.returncode == 0:
            return
        tail = log.read_text(errors="replace")[-3000:]
        if BUSY not in tail:
            raise services.ServiceError(f"`prefect deploy --all` failed in {root}:\n{tail}")
    raise services.ServiceError(f"the Prefect server is too busy to take the deployments ({log}): `textmill up` again")


def deployments_by_pool(root: Path, pools: tuple[str, ...]) -> Path:
    """`prefect.yaml` with every deployment in its work pool: `gpu` for those with that tag, `cpu` for all others."""
    import yaml

    config = load_yaml((root / "prefect.yaml").read_text(encoding="utf-8"))
    for deployment in config["deployments"]:
        kind = "gpu" if "gpu" in pools and "gpu" in deployment.get("tags", ()) else "cpu"
        deployment["work_pool"] = {**deployment["work_pool"], "name": kind}
    path = home.services_path() / "prefect-team.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    return path


def _all_deployed(root: Path) -> bool:
    from prefect.client.orchestration import get_client

    shipped = load_yaml((root / "prefect.yaml").read_text(encoding="utf-8"))
    wanted = {entry["name"] for entry in shipped["deployments"]}
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
