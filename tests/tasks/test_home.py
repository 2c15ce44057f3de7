"""Where things live, and what the environment says about it."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.machine import home as home_module

ROOT = Path(__file__).parents[2]
VARIABLES = ("PREFECT_HOME", "PREFECT_API_URL", "MLFLOW_TRACKING_URI", "TEXTMILL_HOME", "TEXTMILL_MANAGED")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ)
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # makes monkeypatch restore what configure_environment() changes
        monkeypatch.delenv(name)
    for name in home_module._FIXED:
        monkeypatch.setenv(name, before.get(name, ""))


def test_home_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "elsewhere"))
    assert home_module.home() == tmp_path / "elsewhere"
    assert home_module.store_path() == tmp_path / "elsewhere" / "store"


def test_home_is_beside_the_nearest_prefect_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "checkout" / "docs" / "deep"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert home_module.home() == deep / ".textmill"
    shutil.copy(Path(__file__).parents[2] / "prefect.yaml", tmp_path / "checkout")
    assert home_module.home() == tmp_path / "checkout" / ".textmill"


def test_somebody_elses_prefect_yaml_is_no_checkout_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prefect.yaml").write_text("name: another-project\ndeployments: []\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert home_module.home() == tmp_path / "below" / ".textmill"


def test_what_the_user_set_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example:4200/api")
    home_module.configure_environment()
    assert os.environ["PREFECT_API_URL"] == "http://prefect.example:4200/api"
    assert not home_module.is_managed("PREFECT_API_URL")
    assert home_module.is_managed("MLFLOW_TRACKING_URI")


def test_another_home_replaces_what_the_first_one_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "a"))
    home_module.configure_environment()
    assert os.environ["PREFECT_HOME"] == str(tmp_path / "a" / "prefect")
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "b"))
    home_module.remember_port("mlflow", 5999)
    home_module.configure_environment()
    assert os.environ["PREFECT_HOME"] == str(tmp_path / "b" / "prefect")
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5999"


def test_a_server_that_moved_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    home_module.configure_environment()
    home_module.remember_port("prefect", 4999)
    home_module.configure_environment()
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:4999/api"
    assert home_module.remembered_ports() == {"prefect": 4999}


def test_a_taken_port_is_avoided() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        assert not home_module.port_is_free(taken)


def test_a_damaged_port_file_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "ports.json").write_text("[1")
    with pytest.raises(ValueError, match=r"ports\.json is damaged .*remove it"):
        home_module.remembered_ports()


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = "import sys, tasks.machine.home; tasks.machine.home.configure_environment(); print(*sys.modules)"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TEXTMILL_HOME": str(tmp_path)}
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert not {"prefect", "mlflow", "pydantic", "torch"} & set(output.split())
    assert list(tmp_path.iterdir()) == []  # and nothing was written


def test_old_flow_runs_leave_the_servers_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect reads the variables as they are meant: all kinds of rows, flow runs after 30 days."""
    from prefect.settings.models.server.services import ServerServicesDBVacuumSettings

    for name in home_module._FIXED:
        monkeypatch.delenv(name, raising=False)
    home_module.configure_environment()
    settings = ServerServicesDBVacuumSettings()
    assert settings.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
    assert settings.retention_period.days == 30
