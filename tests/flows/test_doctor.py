"""Each finding of the doctor: one machine that has it and one that does not."""

import fcntl
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from flows.servers import doctor, services
from flows.servers.processes import Record
from tasks.machine import home
from tasks.machine.host import process_mark


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PREFECT_HOME", "PREFECT_API_URL", "MLFLOW_TRACKING_URI", "TEXTMILL_MANAGED"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    return tmp_path


def test_this_python_is_new_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [check.state for check in doctor.python_version()] == ["ok"]
    monkeypatch.setattr(doctor, "PYTHON_AT_LEAST", (4, 0))
    (check,) = doctor.python_version()
    assert check.state == "fail"
    assert check.advice


def test_a_version_that_differs_from_the_lock_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    lock.write_text("# comment\npytest==0.0.1\nnot-installed-at-all==2.0\n")
    pins = doctor.read_lock(lock)
    assert pins == {"pytest": "0.0.1", "not-installed-at-all": "2.0"}
    monkeypatch.setattr(doctor, "read_lock", lambda path: pins)
    (check,) = doctor.locked_versions()
    assert check.state == "warn"
    assert f"pytest is {pytest.__version__}, tested with 0.0.1" in check.found
    assert "not-installed-at-all is missing" in check.found
    monkeypatch.setattr(doctor, "read_lock", lambda path: {"pytest": pytest.__version__})
    assert [check.state for check in doctor.locked_versions()] == ["ok"]


def test_a_prefect_server_that_does_not_import_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # `python -c` looks here first: a small package in place of the real one
    server = tmp_path / "prefect" / "server" / "api"
    server.mkdir(parents=True)
    for folder in (server.parent.parent, server.parent, server):
        (folder / "__init__.py").touch()
    (server / "server.py").touch()
    assert [check.state for check in doctor.prefect_server_imports()] == ["ok"]
    (server / "server.py").write_text("raise TypeError('unexpected keyword min_items')")
    (check,) = doctor.prefect_server_imports()
    assert check.state == "fail"
    assert "min_items" in check.found
    assert "fastapi" in check.advice


def test_a_library_with_which_no_schedule_fires_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"prefect": "3.8.8", "sqlalchemy": "2.0.58"}
    monkeypatch.setattr(doctor.metadata, "version", versions.__getitem__)
    assert [check.state for check in doctor.prefect_schedules()] == ["ok"]
    versions["sqlalchemy"] = "2.1.9"
    (check,) = doctor.prefect_schedules()
    assert check.state == "fail"
    assert "no scheduled run is ever created" in check.found


def test_a_usable_home_and_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=50e9))
    assert [check.state for check in doctor.home_folder()] == ["ok", "ok"]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5e9))
    assert [check.state for check in doctor.home_folder()] == ["ok", "warn"]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0.5e9))
    assert [check.state for check in doctor.home_folder()] == ["ok", "fail"]


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "file" / "home"))
    check = next(doctor.home_folder())
    assert check.state == "fail"
    assert "TEXTMILL_HOME" in check.advice


def test_little_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64e9))
    assert [check.state for check in doctor.memory()] == ["ok"]
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2e9))
    assert [check.state for check in doctor.memory()] == ["warn"]


def test_a_pid_file_of_a_dead_process_is_found(own_home: Path) -> None:
    assert {check.state for check in doctor.servers()} == {"ok"}
    record = Record(psutil.Process().pid, 1.0, "", str(own_home), "")
    home.services_path().mkdir(parents=True)
    (home.services_path() / "worker.pid").write_text(json.dumps(vars(record)))
    found = {check.name: check for check in doctor.servers()}
    assert found["worker"].state == "warn"
    assert str(services.log_file("worker")) in found["worker"].advice


def test_an_unreachable_server_of_the_user_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    found = {check.name: check for check in doctor.servers()}
    assert found["prefect"].state == "fail"


def test_interrupted_and_running_builds() -> None:
    partial, locks = home.store_path() / "partial", home.store_path() / "locks"
    for name in ("ingest-aaa", "dedupe-bbb"):
        (partial / name).mkdir(parents=True)
    (partial / f"normalize.shard-aaa-{process_mark()}").mkdir()  # a part, written by a process that lives
    locks.mkdir()
    with (locks / "aaa.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        (check,) = doctor.interrupted_builds()
        assert check.state == "warn"
        assert "1 interrupted: dedupe-bbb" in check.found
        (partial / "dedupe-bbb").rmdir()
        assert next(doctor.interrupted_builds()).state == "ok"


def test_too_many_threads_for_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "usable_cores", lambda: 10_000)
    assert next(doctor.torch_device()).state == "ok"
    monkeypatch.setattr(doctor, "usable_cores", lambda: 0)
    assert next(doctor.torch_device()).state == "warn"
