"""Secrets from Prefect's blocks: used, and in nothing that the servers keep but the block's own encrypted document."""

import base64
import json
import sqlite3
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.machine.resources import Resources
from tasks.pii import KEY_VARIABLE
from tests import s3
from tests.commands import commands
from tests.tasks.test_leaks import write
from tests.tasks.tiny_corpus import configuration

ROOT = Path(__file__).parents[2]
CANARY = f"canary-{uuid.uuid4().hex}"
SECRETS = {name: f"{CANARY}-{name.lower()}" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", KEY_VARIABLE)}


def holds(content: bytes) -> bool:
    """Whether the canary is there, plain or in one of the three ways in which base64 may cut it."""
    shifted = [base64.b64encode(b"x" * shift + CANARY.encode())[4:-4] for shift in range(3)]
    return any(form in content for form in (CANARY.encode(), *shifted))


@pytest.mark.server
def test_secrets_of_blocks_are_used_and_kept_by_no_server(prefect_environment: dict[str, str], tmp_path: Path) -> None:
    """One test, so that several workers do not do everything several times."""
    home = Path(prefect_environment["TEXTMILL_HOME"])
    ports = home / "services" / "ports.json"
    ports.write_text(json.dumps({"mlflow": s3.free_port(), **json.loads(ports.read_text())}))
    write(tmp_path / "documents")
    config = configuration(tmp_path / "documents", pii={"style": "hashed"}, refresh={"pretrain_above": None})
    settings = config.model_dump(mode="json")
    settings["resources"] |= {"workers": 1, "threads": 1, "store": "s3://blocks/store"}
    with s3.served() as port:
        s3.make_bucket("blocks", port)
        given = {"config": settings, "secrets": SECRETS, "path": CANARY}
        (tmp_path / "given.json").write_text(json.dumps(given))
        # no credentials but those of the blocks, and nowhere to look for others
        environment = {name: value for name, value in prefect_environment.items() if not name.startswith("AWS_")}
        environment |= {"AWS_ENDPOINT_URL": s3.environment(port)["AWS_ENDPOINT_URL"], "AWS_DEFAULT_REGION": "us-east-1"}
        environment |= {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
        said, processes = driven(environment, tmp_path / "given.json")
        objects = fetched(port)

    assert said["missing"].startswith(
        "resources.secrets.HF_TOKEN: the Prefect server has no Secret block 'no-such-block'; create it in the UI"
    )
    assert said["parts"] == (
        "resources.secrets.HF_TOKEN: the Secret block 'parts' holds no text; save one string in it"
    )
    assert said["stays"] == [[], "set-already"]
    state, message = said["failed"]
    assert state == "Failed"
    assert "resources.secrets.AWS_SECRET_ACCESS_KEY: the Prefect server has no Secret block" in message
    state, message, stages = said["made"]
    assert state == "Completed", message
    assert {"ingest", "pii", "filter_corpus"} <= set(stages)
    assert said["shipped"]
    assert any(text.startswith("Failed: corpus-refresh") for text in said["messages"])  # only the block knew where to

    assert any("/manifests/filter_corpus/" in name for name in objects)  # so the credentials were used
    assert [name for name, content in objects.items() if holds(content)] == []
    assert "tasks.tracking.shipper" in processes
    assert not holds(processes.encode())
    files = [path for path in home.rglob("*") if path.is_file()]
    logs = {path.name for path in files if path.suffix == ".log"}
    assert {"prefect.log", "mlflow.log"} <= logs
    assert [str(path) for path in files if holds(path.read_bytes())] == []  # databases, logs, store, MLflow's files
    assert not holds(rows(home / "mlflow" / "mlflow.db", "params"))
    assert b"mill-aws-secret-access-key" in rows(home / "mlflow" / "mlflow.db", "params")  # the name may be seen
    documents = rows(home / "prefect" / "prefect.db", "block_document")
    assert b"mill-aws-secret-access-key" in documents
    assert not holds(documents)


def driven(environment: dict[str, str], given: Path) -> tuple[dict[str, Any], str]:
    """What the driver says, and the commands of all processes that were seen meanwhile."""
    command = [sys.executable, "-m", "tests.security.block_driver", str(given)]
    with (
        commands() as seen,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as driver,
    ):
        output, errors = driver.communicate()
    assert driver.returncode == 0, errors[-4000:]
    assert not holds(output.encode())
    assert not holds(errors.encode())
    return json.loads(output.splitlines()[-1]), "\n".join(seen)


def fetched(port: int) -> dict[str, bytes]:
    """Every object of the store, by name."""
    import s3fs

    fs = s3fs.S3FileSystem(key=s3.KEY, secret=s3.SECRET, endpoint_url=s3.environment(port)["AWS_ENDPOINT_URL"])
    found: dict[str, bytes] = fs.cat(fs.find("blocks"))
    return found


def rows(database: Path, table: str) -> bytes:
    """All of a table, from the server's own file."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return repr(connection.execute(f"SELECT * FROM {table}").fetchall()).encode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("PREFECT_API_AUTH_STRING", "is needed before Prefect can be asked: set it in the environment"),
        ("hf-token", "'hf-token' is no name of a variable: capitals, digits and _, such as HF_TOKEN"),
    ],
)
def test_a_variable_that_no_block_can_give_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Resources(secrets={name: "mill"})
