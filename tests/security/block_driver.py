"""A refresh whose secrets are in blocks of the Prefect server: `python -m tests.security.block_driver FILE`.

The file says the secrets by variable, the pipeline's configuration, and the secret path of a web hook's address, as
those of Slack and Teams have one. Prints what came of it as JSON.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.machine import home

home.configure_environment()

from mlflow import MlflowClient  # noqa: E402
from prefect.blocks.notifications import CustomWebhookNotificationBlock  # noqa: E402
from prefect.blocks.system import Secret  # noqa: E402

from data_quality.errors import UsageError  # noqa: E402
from flows.commands.start import run_flow  # noqa: E402
from flows.config.pipeline import PipelineConfig  # noqa: E402
from flows.servers import automations  # noqa: E402
from tasks.running.secret_blocks import take_secrets  # noqa: E402
from tasks.store import Store  # noqa: E402
from tasks.tracking.shipper import ship_all  # noqa: E402
from tests.flows.schedule_helpers import SECONDS, TRIES, listening, wait_for  # noqa: E402

REFRESH = "flows.deployments:corpus_refresh"


def refused(call: Callable[[], Any]) -> str:
    """The message with which it is."""
    try:
        call()
    except UsageError as error:
        return str(error)
    raise AssertionError("not refused")


def messages() -> dict[str, str]:
    """Of blocks that cannot be used."""
    Secret(value={"key": "a-part-of-it"}).save("parts", overwrite=True)
    return {
        "missing": refused(lambda: take_secrets({"HF_TOKEN": "no-such-block"})),
        "parts": refused(lambda: take_secrets({"HF_TOKEN": "parts"})),
    }


def main() -> None:
    """Blocks, automations, a run that fails, a run that does not."""
    given = json.loads(Path(sys.argv[1]).read_text())
    blocks = {}
    for variable, value in given["secrets"].items():
        blocks[variable] = f"mill-{variable.lower().replace('_', '-')}"
        Secret(value=value).save(blocks[variable], overwrite=True)
    said: dict[str, Any] = messages()
    os.environ["HF_TOKEN"] = "set-already"
    said["stays"] = [take_secrets({"HF_TOKEN": "no-such-block"}), os.environ["HF_TOKEN"]]
    with listening() as (address, heard):
        said |= refreshed(given["config"], blocks, address, given["path"], heard)
    print(json.dumps(said))


def refreshed(
    settings: dict[str, Any], blocks: dict[str, str], address: str, path: str, heard: list[str]
) -> dict[str, Any]:
    """A run that fails, of which the hook hears, and one that does not."""
    said: dict[str, Any] = {}
    text = {"text": "{{subject}}\n{{body}}"}
    # not within the address, which is in plain in the events that Prefect keeps of its blocks
    hidden = {"name": "mill", "url": f"{address}/{{{{path}}}}", "secrets": {"path": path}, "json_data": text}
    CustomWebhookNotificationBlock.model_validate(hidden).save("mill", overwrite=True)
    os.environ[automations.NOTIFY] = "custom-webhook/mill"
    automations.install_automations()
    settings["resources"] |= {"secrets": {"AWS_SECRET_ACCESS_KEY": "no-such-block"}}
    for _ in range(TRIES):  # until the server's triggers have heard of the automations
        failed = run_flow(REFRESH, PipelineConfig.model_validate(settings), quiet=True)
        wait_for(lambda: bool(heard), SECONDS / TRIES)
        if heard:
            break
    said["failed"] = [failed["state"], failed["message"]]
    settings["resources"] |= {"secrets": blocks}
    made = run_flow(REFRESH, PipelineConfig.model_validate(settings), quiet=True)
    said["made"] = [made["state"], made["message"], sorted({stage["stage"] for stage in made["stages"]})]
    said["shipped"] = ship_all(Store(home.store_path()), MlflowClient())
    said["messages"] = list(heard)
    os.environ.pop(automations.NOTIFY)
    automations.install_automations()
    return said


if __name__ == "__main__":
    main()
