"""Secrets that a machine holds are looked for in everything that a pipeline writes, says and starts."""

import json
import logging
import os
from pathlib import Path

import pytest

from data_quality.config import JsonlSource
from flows.config.loading import ConfigError, parse
from flows.config.pipeline import PipelineConfig
from flows.servers import services
from flows.servers.launch import launch
from tasks.machine import credentials, home
from tasks.pii import KEY_VARIABLE
from tasks.running import pool
from tasks.running.journal import JOURNAL
from tasks.storage.objects import ObjectError, Objects
from tests.commands import commands, variable_and_command
from tests.tasks.test_leaks import build, everything_in

CANARY = "canary-4f1c9a7e"
SECRETS = {
    name: f"{CANARY}-{name.lower()}"
    for name in (
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "PGPASSWORD",
        "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PREFECT_API_KEY",
        "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING", KEY_VARIABLE,
    )
} | {"PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://mill:{CANARY}-db@127.0.0.1:9/prefect"}  # fmt: skip


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("secrets")
def test_no_secret_is_in_what_a_pipeline_writes_says_or_starts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Personal data is hashed with a key here, so that one of the secrets is in use."""
    with caplog.at_level(logging.DEBUG), commands() as started:
        _, _, store = build(tmp_path, "drop", style="hashed")
    artifacts = store.list()
    assert len(artifacts) > 10
    said = "".join(everything_in(artifact) for artifact in artifacts)
    assert "<email:" in said or "email" in said  # the tables were read
    journals = "".join(path.read_text() for path in tmp_path.rglob(JOURNAL))
    assert '"event": "start"' in journals  # what the tracking server would be sent, parameters among it
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    out = "".join(capfd.readouterr())
    for name, text in {"artifacts": said, "journals": journals, "logs": caplog.text, "output": out}.items():
        assert CANARY not in text, name
    assert CANARY.encode() not in written
    assert [command for command in started if CANARY in command] == []


@pytest.mark.usefixtures("secrets")
def test_no_secret_is_in_the_command_of_a_worker_that_has_it() -> None:
    """Two processes of the pool in which shards are worked on, while they work."""
    found: dict[int, tuple[str, str]] = {}
    pool.shut_down()
    try:
        with commands() as started:
            pool.map_in_processes(variable_and_command, [(name,) for name in SECRETS], 2, found.__setitem__)
    finally:
        pool.shut_down()
    assert [found[number][0] for number in range(len(SECRETS))] == list(SECRETS.values())
    workers = {command for _, command in found.values()}
    assert all("multiprocessing.spawn" in command for command in workers)
    assert workers <= started
    assert [command for command in started if CANARY in command] == []


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("service", ["prefect", "mlflow", "worker"])
def test_no_secret_is_in_the_command_of_a_service(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everyone on a machine can read the commands of all processes."""
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    assert CANARY not in " ".join(launch(service, 4200, None).command)


def test_the_key_of_blocks_is_given_to_the_prefect_server_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has it and the database, or a dump, can read every block."""
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    key = credentials.PREFECT_BLOCKS
    assert key not in launch("prefect", 4200, None).environment  # Prefect makes one up
    monkeypatch.setenv(key, CANARY)
    given = {name: launch(name, 4200, None).environment.get(key) for name in ("prefect", "mlflow", "worker")}
    assert given == {"prefect": CANARY, "mlflow": None, "worker": None}
    monkeypatch.delenv(key)
    home.services_path().mkdir()
    home.secrets_path().touch(mode=0o600)
    home.secrets_path().write_text(f"{key}={CANARY}\n")
    assert launch("prefect", 4200, None).environment[key] == CANARY
    home.configure_environment()
    assert key not in os.environ


def test_no_password_of_an_address_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", f"http://mill:{CANARY}@127.0.0.1:9/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://mill:{CANARY}@127.0.0.1:9")
    home.configure_environment()
    assert services.ui_url("prefect") == "http://127.0.0.1:9"
    assert CANARY not in json.dumps(services.status())
    with pytest.raises(services.ServiceError, match=r"PREFECT_API_URL=http://127\.0\.0\.1:9/api is set") as caught:
        services.ensure("prefect")
    assert CANARY not in str(caught.value)


def test_no_password_of_a_store_is_repeated() -> None:
    with pytest.raises(ObjectError, match="credentials belong into the environment") as caught:
        Objects(f"s3://key:{CANARY}@bucket/prefix")
    assert CANARY not in str(caught.value)


def test_no_password_of_a_source_is_taken_or_repeated() -> None:
    """What a configuration says goes into manifests and to the tracking server."""
    path = f"https://mill:{CANARY}@127.0.0.1/documents.jsonl"
    source = {"format": "jsonl", "paths": [path]}
    with pytest.raises(ConfigError, match="credentials belong into the environment") as caught:
        parse(source, "mine.yaml", JsonlSource)
    assert CANARY not in str(caught.value)
    with pytest.raises(ConfigError, match="credentials belong into the environment") as caught:
        parse({"name": "mine", "ingest": {"sources": [source]}}, "mine.yaml", PipelineConfig)
    assert CANARY not in str(caught.value)
    plain = JsonlSource.model_validate({"format": "jsonl", "paths": ["https://user@127.0.0.1/a", "s3://bucket/a@b"]})
    assert plain.paths[1] == "s3://bucket/a@b"
