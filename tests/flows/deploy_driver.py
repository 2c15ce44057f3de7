"""Deploys a checkout of one flow again and again, with changes in the Prefect UI between (test_deploy_again.py).

Run with the folder of the checkout, in the environment of a Prefect server of the session; prints a line of JSON.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleUpdate, DeploymentUpdate
from prefect.client.schemas.schedules import CronSchedule

from flows.servers.deploy import create_work_pools, deploy
from flows.servers.services import ServiceError

NAME, RENAMED = "deployed-again", "deployed-anew"
FLOW = """
from pydantic import BaseModel
from prefect import flow
from flows.config.named_file import FromFile
from lm.tokenizers.config import ByteBPEConfig, TokenizerConfig

class Settings(BaseModel):
    name: str = "shipped"
    tokenizer: TokenizerConfig = ByteBPEConfig()

@flow(name="again", flow_run_name="again {config.name}")
def again(config: FromFile[Settings] = Settings()) -> str:
    return f"{config.name} {config.tokenizer.vocab_size}"
"""


class Kept(logging.Handler):
    """Messages of the deployment's logger."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def write(root: Path, cron: str, parameters: dict[str, Any]) -> None:
    """The checkout's prefect.yaml."""
    schedule = {"cron": cron, "timezone": "UTC"}
    pool = {"name": "textmill", "work_queue_name": "default"}
    entry = {"name": NAME, "entrypoint": "again.py:again", "work_pool": pool, "schedules": [schedule]}
    entry["parameters"] = parameters
    text = yaml.safe_dump({"name": "test", "pull": [], "deployments": [entry]})
    (root / "prefect.yaml").write_text(text)


def main() -> None:
    """All of it; what the server then plans is not left to the next test."""
    try:
        deploy_again(Path(sys.argv[1]))
    finally:
        with get_client(sync_client=True) as client:
            for each in client.read_deployments():
                if each.name in (NAME, RENAMED):
                    client.delete_deployment(each.id)


def deploy_again(root: Path) -> None:
    """Deployed, changed in the UI, and deployed again as a new version, twice, and with another prefect.yaml."""
    kept = Kept()
    logging.getLogger("textmill.deploy").addHandler(kept)
    (root / "again.py").write_text(FLOW)
    (root / "flows").mkdir()
    create_work_pools()
    said: dict[str, Any] = {}

    def now(step: str) -> None:
        with get_client(sync_client=True) as client:
            found = client.read_deployment_by_name(f"again/{NAME}")
        schedules = [[each.schedule.cron, each.active] for each in found.schedules]  # type: ignore[union-attr]
        said[step] = [found.parameters, sorted(schedules), list(kept.messages)]
        kept.messages.clear()

    def changed_in_the_ui(**settings: Any) -> None:
        with get_client(sync_client=True) as client:
            found = client.read_deployment_by_name(f"again/{NAME}")
            client.update_deployment(found.id, DeploymentUpdate(**settings))

    write(root, "0 2 1 1 *", {})
    said["first"] = deploy(root)
    said["nothing new"] = deploy(root)
    off = DeploymentScheduleUpdate(schedule=CronSchedule(cron="0 2 1 1 *"), active=False)
    more = DeploymentScheduleUpdate(schedule=CronSchedule(cron="0 3 1 1 *"), active=True)
    mine = {"config": {"name": "mine", "tokenizer": {"vocab_size": 1024}}}  # no kind, as `textmill init` writes it
    changed_in_the_ui(parameters=mine, schedules=[off, more])
    now("changed")
    (root / "flows" / "new.py").write_text("# a new version\n")
    said["upgrade"] = deploy(root)
    now("upgraded")
    (root / "flows" / "new.py").write_text("# a newer version\n")
    deploy(root)
    now("upgraded again")
    good = (root / "prefect.yaml").read_text()
    (root / "prefect.yaml").write_text(
        good + "- {name: broken, entrypoint: 'nowhere.py:no', work_pool: {name: textmill}}\n"
    )
    try:
        deploy(root)
    except ServiceError:
        said["failed"] = True
    (root / "prefect.yaml").write_text(good)
    deploy(root)
    now("after one that failed")
    (root / "mine.yaml").write_text("name: of a file\ntokenizer: {vocab_size: 2048}\n")
    write(root, "0 4 1 1 *", {"config": str(root / "mine.yaml")})
    deploy(root)
    now("said otherwise")
    changed_in_the_ui(parameters=mine)
    text = (root / "prefect.yaml").read_text()
    (root / "prefect.yaml").write_text(text.replace(NAME, RENAMED))
    said["renamed"] = deploy(root)
    now("named no more")
    sys.path.insert(0, str(root))
    from again import again  # type: ignore[import-not-found]

    said["run"] = again(config=str(root / "mine.yaml"))
    print(json.dumps(said))


if __name__ == "__main__":
    main()
