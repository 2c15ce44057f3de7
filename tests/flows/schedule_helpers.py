"""What tests/flows/schedule_driver.py looks at and waits for: states, aliases, errors, and a web hook of its own."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient

from flows.servers.status import status
from tasks.store import Store
from tasks.tracking import shipper
from tests.tasks.journals import Pipeline

MODEL = "textmill-pretrained"
SECONDS = 240.0
"""How long something is waited for that takes a moment on a machine with nothing else to do."""
TRIES = 24
"""How often something fails within this time, until the server's triggers know whom to tell."""


def register(store: Store, mlflow: MlflowClient, *names: str) -> None:
    """A version for each artifact of these aliases, the first of them the champion."""
    pipeline = Pipeline(store)
    for number, name in enumerate(names):
        made = store.aliased(name)
        assert made is not None
        journal = pipeline.stage("registered", f"{number}" * 32)  # one that no artifact has a journal of
        tags = {"textmill.stage": made.stage, "textmill.artifact": made.key}
        journal.start(name=name, parent=pipeline.directory.name, tags=tags, params={})
        journal.write("model", name=MODEL, alias="newest", path=str(made.path), key=made.key, params={})
        journal.write("end", status="FINISHED")
        shipper.ship_run(store, pipeline.directory, mlflow)
    pipeline.end()
    mlflow.set_registered_model_alias(MODEL, "champion", "1")


def state_of(client: SyncPrefectClient, flow_run: UUID) -> tuple[str, str]:
    state = client.read_flow_run(flow_run).state
    return (str(state.name), str(state.message)) if state else ("", "")


def alias_of(mlflow: MlflowClient) -> str:
    return str(mlflow.get_model_version_by_alias(MODEL, "champion").version)


def message_of(call: Callable[[], Any], error: type[Exception]) -> str:
    try:
        call()
    except error as raised:
        return str(raised)
    return "nothing was raised"


def wait_for(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)


def waiting(state: str | None = None) -> list[dict[str, Any]]:
    """What the status says that waits (in this state); nothing where the server takes too long to answer."""
    rows = (status(with_services=False)["prefect"] or {"waiting": []})["waiting"]
    return [row for row in rows if state in (None, row["state"])]


@contextlib.contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """A web hook: its address and the texts that it was sent."""
    messages: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            messages.append(json.loads(body)["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", messages
    finally:
        server.shutdown()
