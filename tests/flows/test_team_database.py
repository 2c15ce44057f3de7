"""A team's PostgreSQL without a server: what is missing or in the way, and backups of it."""

import hashlib
import json
import os
import pwd
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.servers import doctor_team, launch, postgres, services, team
from flows.servers.backup import backup, prepare, restore
from tasks.machine import home
from tasks.storage.files import read_json

pytestmark = pytest.mark.usefixtures("empty_home")


def test_without_its_programs_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(()))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(postgres.PostgresError, match=r"initdb is not installed: install it \(Debian .*POSTGRES_URL"):
        postgres.find_program("initdb")
    team.choose("team")
    with pytest.raises(
        services.ServiceError, match=r"program postgres is not installed"
    ):  # what `main` shows in a line
        launch.become("postgres")


def test_a_folder_of_another_version_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "major_version", lambda: "17")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(postgres.PostgresError, match=r"written by PostgreSQL 15, and 17 is installed: .*#upgrade"):
        postgres.prepare(tmp_path, "secret")


@pytest.mark.skipif(os.geteuid() != 0, reason="a matter of root")
def test_root_needs_a_user_for_it_and_a_folder_that_he_reaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "major_version", lambda: "15")
    monkeypatch.setattr(postgres, "SYSTEM_USER", "nobody")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(postgres.PostgresError, match=r"who cannot reach .*private/postgres: set TEXTMILL_POST"):
        postgres.prepare(private / "postgres", "a-password")
    assert not list(private.rglob("password"))
    assert postgres.as_user()["user"] == pwd.getpwnam("nobody").pw_uid
    monkeypatch.setattr(postgres, "SYSTEM_USER", "no-such-user")
    with pytest.raises(postgres.PostgresError, match="does not run as root, and there is no user no-such-user"):
        postgres.as_user()


def test_a_server_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg2")
    with socket.socket() as nobody:  # bound, not listening: refuses
        nobody.bind((home.HOST, 0))
        address = f"postgresql://mill@127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv("TEXTMILL_POSTGRES_URL", address)
        team.choose("team")
        assert not postgres.answers(address)
        with pytest.raises(services.ServiceError, match=rf"{address}: .*[Cc]onnection refused"):
            services.ensure("prefect")
        assert services.status()["postgres"]["state"] == "unreachable"
        found = {check.name: check for check in doctor_team.team_stack()}
        assert found["database"].state == "fail"
        assert "refused" in found["database"].found
        assert found["passwords"].state == "ok"
    assert not list(home.services_path().glob("*.pid"))


def test_a_database_that_another_service_has_just_created_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    asked: list[str] = []

    class Cursor:
        def __enter__(self) -> "Cursor":
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def execute(self, query: str) -> None:
            asked.append(query)
            if query == 'CREATE DATABASE "mlflow"':
                raise psycopg2.errors.DuplicateDatabase

        def fetchall(self) -> list[tuple[str]]:
            return [("postgres",), ("prefect",)]

    connection = SimpleNamespace(cursor=Cursor, close=lambda: None)
    monkeypatch.setattr(postgres, "connect", lambda url: connection)
    assert postgres.create_databases("postgresql://mill@db") == ["mlflow", "mlflow_auth"]
    assert asked[1:] == ['CREATE DATABASE "mlflow"', 'CREATE DATABASE "mlflow_auth"']


@pytest.mark.parametrize("damage", ["note", "dump", "name", "format"])
def test_a_damaged_backup_is_refused_before_anything_is_touched(tmp_path: Path, damage: str) -> None:
    team.choose("team")
    folder = tmp_path / "backup"
    (folder / "databases").mkdir(parents=True)
    (folder / "databases" / "prefect.dump").write_bytes(b"dump")
    note: dict[str, Any] = {"format": 1, "databases": {"prefect": "0" * 64}}
    if damage == "name":
        note["databases"] = {"../prefect": "0" * 64}
    if damage == "format":
        note["format"] = 2
    if damage != "note":
        (folder / "backup.json").write_text(json.dumps(note))
    said = {"note": "is no whole backup", "dump": "missing or damaged", "name": "missing or damaged"}
    with pytest.raises(services.ServiceError, match=said.get(damage, "format 2, written by a newer Textmill")):
        restore(folder)
    if damage in ("note", "format"):
        home.team_note().unlink()
        with pytest.raises(services.ServiceError, match=said.get(damage, "format 2, written by a newer Textmill")):
            prepare(folder, "team")
        assert not home.team_note().exists()
    assert not list(home.services_path().glob("*.pid"))


@pytest.mark.parametrize("named", [None, "team"])
def test_an_empty_machine_becomes_that_of_the_stack_that_is_named(
    named: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "databases").mkdir()
    (tmp_path / "databases" / "prefect.dump").write_bytes(b"dump")
    digest = hashlib.sha256(b"dump").hexdigest()
    (tmp_path / "backup.json").write_text(json.dumps({"format": 1, "databases": {"prefect": digest}}))
    with pytest.raises(services.ServiceError, match=r"this is no machine of a team.s servers: .*restore --stack team"):
        restore(tmp_path)
    assert prepare(tmp_path, None) == []
    assert team.read_team() is None
    if named is None:
        monkeypatch.setenv("TEXTMILL_STACK", "team")
    assert "PGPASSWORD" in prepare(tmp_path, named)  # there was no secrets.env
    assert team.read_team() is not None
    assert prepare(tmp_path, "local") == []
    assert team.read_team() is not None  # what the machine has stays
    monkeypatch.setattr(services, "status", lambda: {"prefect": {"pid": 7}})
    with pytest.raises(services.ServiceError, match="prefect run: `textmill down` first"):  # it got that far
        restore(tmp_path)


def test_a_folder_of_other_files_is_not_taken_for_a_backup(tmp_path: Path) -> None:
    team.choose("team")
    folder = tmp_path / "feed"
    folder.mkdir(mode=0o755)
    (folder / "monday.jsonl").write_text("{}")
    with pytest.raises(
        services.ServiceError, match=r"feed holds other files \(monday\.jsonl\): name a new or an empty"
    ):
        backup(folder)
    assert [path.name for path in folder.iterdir()] == ["monday.jsonl"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_backup_needs_the_client_programs_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container: what version the dumps are of says the server."""

    def dump(program: str, *arguments: str) -> None:
        [file] = [each.removeprefix("--file=") for each in arguments if each.startswith("--file=")]
        Path(file).write_text(program)

    team.choose("team")
    monkeypatch.setattr(services, "ensure_database", lambda: None)
    monkeypatch.setattr("flows.servers.backup._run", dump)
    monkeypatch.setattr(postgres, "find_program", lambda name: pytest.fail(f"{name} is not installed"))
    monkeypatch.setattr(postgres, "connect", lambda url: SimpleNamespace(server_version=150_006, close=lambda: None))
    assert backup(tmp_path / "backup").databases == postgres.DATABASES
    assert read_json(tmp_path / "backup" / "backup.json")["versions"]["postgresql"] == "15"
