"""A team's stack without servers: how it is chosen, what is started with what, and what every bad input says."""

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli.main import app
from flows.config import stack as stack_config
from flows.config.loading import CONFIGS, ConfigError
from flows.config.stack import StackConfig, load_stack
from flows.servers import deploy, doctor_team, launch, services, team
from flows.servers.backup import backup
from tasks.machine import credentials, home

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("empty_home")


def test_the_shipped_stack_is_the_default_one_and_listens_on_loopback() -> None:
    assert load_stack("team") == StackConfig()
    assert StackConfig().listen == "127.0.0.1"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "TEXTMILL_POSTGRES_URL",
            "postgresql://me:secret@db:5432",
            r"TEXTMILL_POSTGRES_URL:\n.*belongs into PGPASSWORD",
        ),
        ("TEXTMILL_POSTGRES_URL", "mysql://me@db:5432", r"postgres\.url: write postgresql://user@host:port"),
        ("TEXTMILL_POSTGRES_URL", "postgresql://db:5432", r"postgres\.url: write postgresql://user@host:port"),
        ("TEXTMILL_POSTGRES_URL", "postgresql://me@db:5432/mine", r"the databases are prefect, mlflow and"),
        ("TEXTMILL_POSTGRES_URL", "postgresql://me:se/secret@db", r"postgres\.url: write postgresql://user@host:port"),
        ("TEXTMILL_POSTGRES_URL", "[postgresql://me:secret@db", r"not a YAML value"),
        ("TEXTMILL_STORE", "s3://key:secret@bucket/store", r"store: credentials belong into the environment"),
        ("TEXTMILL_STORE", "//key:secret@bucket/store", r"store: credentials belong into the environment"),
        ("TEXTMILL_STORE", "s3://a key:secret@bucket/store", r"store: credentials belong into the environment"),
        ("TEXTMILL_STORE", "s3://key:1x/secret@bucket/store", r"store: credentials belong into the environment"),
        ("TEXTMILL_LISTEN", "http://10.0.0.2", r"listen: an address such as 127\.0\.0\.1"),
        ("TEXTMILL_CPU_WORKERS", "-1", r"cpu\.workers.*: must be 0 or more"),
        ("TEXTMILL_GPU_WORKERS", "some", r"gpu\.workers"),
    ],
)
def test_a_bad_value_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=message) as caught:
        load_stack("team")
    assert variable in str(caught.value) or stack_config.VARIABLES[variable] in str(caught.value)
    assert "secret" not in str(caught.value)  # an error shows no password


def test_an_unknown_key_names_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("allowed_host: [mill.example]\n")
    with pytest.raises(ConfigError, match=r"allowed_host: unknown key; did you mean 'allowed_hosts'"):
        load_stack(str(tmp_path / "mine.yaml"))
    with pytest.raises(ConfigError, match=r"tema\.yaml: no such file; shipped configurations: .*team\.yaml"):
        load_stack("tema")


def test_a_stack_is_kept_until_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert team.choose(None) == []
    assert (team.read_team(), services.names(), services.work_pools()) == (None, services.SERVICES, ("textmill",))
    monkeypatch.setenv("TEXTMILL_STORE", "s3://bucket/store")
    monkeypatch.setenv("TEXTMILL_GPU_WORKERS", "2")
    assert team.choose("team") == sorted(credentials._NEEDED)
    monkeypatch.delenv("TEXTMILL_STORE")
    assert team.choose(None) == []
    assert os.environ["TEXTMILL_STORE"] == "s3://bucket/store"
    names = ("postgres", "prefect", "mlflow", "worker-cpu-1", "worker-gpu-1", "worker-gpu-2")
    assert services.names() == names
    assert services.work_pools() == ("cpu", "gpu")
    assert not [line for line in home.team_note().read_text().splitlines() if "secret" in line]
    team.choose("local")
    assert services.names() == services.SERVICES


def test_up_starts_the_stack_that_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of the command line, whatever the environment names."""
    started: list[tuple[str, ...]] = []
    monkeypatch.setattr(services, "ensure", lambda *names, **options: started.append(names))
    monkeypatch.setattr(services, "status", dict)
    monkeypatch.setattr(deploy, "register", lambda: None)
    monkeypatch.setattr("flows.cli.printing.show_services", lambda found: None)
    monkeypatch.setattr("flows.cli.team._send_journals", lambda: None)
    monkeypatch.setattr("flows.cli.team.pools_without_a_worker", list)
    monkeypatch.setenv("TEXTMILL_STACK", "team")
    for arguments, last in ((["--stack", "local"], services.SERVICES), ([], ("postgres", *services.SERVERS))):
        done = CliRunner().invoke(app, ["up", *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert started[-1][: len(last)] == last
    assert home.team_note().exists()


def test_a_note_of_another_version_says_what_it_does_not_know() -> None:
    team.choose("team")
    note = json.loads(home.team_note().read_text())
    home.team_note().write_text(json.dumps({**note, "config": {**note["config"], "tpu": {"workers": 1}}}))
    with pytest.raises(ConfigError, match=r"team\.json:\n  tpu: unknown key"):
        services.names()
    team.choose("team")
    assert services.names()[0] == "postgres"


def test_a_machine_that_finds_the_servers_elsewhere_has_workers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://10.0.0.2:4200/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://10.0.0.2:5000")
    assert team.choose("team") == []
    assert not home.secrets_path().exists()
    assert services.names() == ("prefect", "mlflow", "worker-cpu-1")
    with pytest.raises(services.ServiceError, match="this is no machine of a team's servers"):
        backup(Path("anywhere"))


def test_each_gpu_has_one_worker_and_no_other_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    team.choose("team")
    stack = team.read_team()
    assert stack is not None
    seen = {name: launch.launch(name, 0, stack) for name in services.names() if name.startswith("worker")}
    assert {name: found.environment["CUDA_VISIBLE_DEVICES"] for name, found in seen.items()} == {
        "worker-cpu-1": "",
        "worker-gpu-1": "4",
        "worker-gpu-2": "7",
    }
    assert seen["worker-gpu-1"].command[-4:-2] == ["--limit", "1"]


def test_no_password_is_on_a_command_line_and_workers_have_none_of_the_servers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEXTMILL_POSTGRES_URL", "postgresql://mill@db.example:5432")
    monkeypatch.setenv("TEXTMILL_ALLOWED_HOSTS", "[mill.example]")
    monkeypatch.setenv(credentials.POSTGRES, "the-password-of-the-database")
    team.choose("team")
    stack = team.read_team()
    assert stack is not None
    secrets = credentials.for_servers(home.secrets_path())
    launched = {name: launch.launch(name, 4200, stack) for name in ("prefect", "mlflow", "worker-cpu-1")}
    for found in launched.values():
        assert not [value for value in secrets.values() if value != "textmill" and value in " ".join(found.command)]
    prefect, mlflow, worker = (found.environment for found in launched.values())
    assert prefect["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == "postgresql+asyncpg://mill@db.example:5432/prefect"
    assert prefect[credentials.PREFECT_SERVER] == secrets[credentials.PREFECT]
    assert mlflow["MLFLOW_BACKEND_STORE_URI"] == "postgresql+psycopg2://mill@db.example:5432/mlflow"
    hosts = launched["mlflow"].command[launched["mlflow"].command.index("--allowed-hosts") + 1].split(",")
    assert {"mill.example", "mill.example:*", "127.0.0.1:*"} <= set(hosts)
    assert "*" not in hosts
    assert worker[credentials.PREFECT] == secrets[credentials.PREFECT]
    assert not credentials.SERVER_ONLY & set(worker)
    assert not [value for value in secrets.values() if value in (home.services_path() / "mlflow-auth.ini").read_text()]


def test_a_changed_stack_is_started_anew_and_the_local_one_never(monkeypatch: pytest.MonkeyPatch) -> None:
    def prints() -> dict[str, str]:
        return {name: launch.fingerprint(name, 4200, team.read_team()) for name in services.names()}

    assert set(prints().values()) == {""}
    team.choose("team")
    before = prints()
    assert prints() == before
    monkeypatch.setenv("TEXTMILL_ARTIFACTS", "s3://bucket/mlflow")
    team.choose("team")
    changed = {name for name, value in prints().items() if value != before[name]}
    assert changed == {"mlflow"}


def test_every_deployment_goes_to_a_pool_of_its_kind() -> None:
    home.services_path().mkdir(parents=True)
    written = yaml.safe_load(deploy.deployments_by_pool(ROOT, ("cpu", "gpu")).read_text())
    pools = {entry["name"]: entry["work_pool"] for entry in written["deployments"]}
    assert pools["nightly-corpus"] == {"name": "cpu", "work_queue_name": "default"}
    assert pools["textmill"]["name"] == pools["pretrain"]["name"] == "gpu"
    shipped = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    for entry in (*written["deployments"], *shipped["deployments"]):
        del entry["work_pool"]
    del shipped["definitions"], written["definitions"]
    assert written == shipped
    alone = yaml.safe_load(deploy.deployments_by_pool(ROOT, ("cpu",)).read_text())
    assert {entry["work_pool"]["name"] for entry in alone["deployments"]} == {"cpu"}


def test_the_doctor_says_nothing_of_one_persons_home_and_warns_of_open_networks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert list(doctor_team.team_stack()) == []
    monkeypatch.setenv("TEXTMILL_LISTEN", "0.0.0.0")
    team.choose("team")
    home.secrets_path().chmod(0o644)
    found = {check.name: check for check in doctor_team.team_stack()}
    assert found["network"].state == "warn"
    assert found["passwords"].state == "fail"
    assert "chmod 600" in found["passwords"].found
    note = json.loads(home.team_note().read_text())
    assert note["host"] == "127.0.0.1"


def test_a_service_in_the_foreground_must_be_of_this_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://me:secret@10.0.0.2:4200/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://10.0.0.2:5000")
    team.choose("team")
    with pytest.raises(services.ServiceError, match="no service 'worker-tpu-1' in this stack: prefect, mlflow, worker"):
        launch.become("worker-tpu-1")
    with pytest.raises(services.ServiceError, match=r"prefect is named by the environment \(http://10"):
        launch.become("prefect")


def test_files_of_the_home_that_hold_passwords_are_private() -> None:
    team.choose("team")
    assert stat.S_IMODE(home.secrets_path().stat().st_mode) == 0o600
    assert subprocess.run(["grep", "-c", "=", home.secrets_path()], check=False, capture_output=True).stdout == b"5\n"
    assert (CONFIGS / "stack" / "team.yaml").is_file()
