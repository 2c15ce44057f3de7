"""The background services, with real servers: one start for the whole file."""

import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.cli.team import down as stop
from flows.servers import launch, postgres, services, team
from flows.servers.processes import Record, end_tree, listens, tree
from tasks.machine import home
from tests.s3 import free_port

ROOT = Path(__file__).parents[2]

TINY_FLOW = """
import os
from prefect import flow
from pydantic import BaseModel

class Sizes(BaseModel):
    n: int = 3

@flow
def tiny(config: Sizes = Sizes(), answer: str = "") -> None:
    with open(answer, "w") as file:
        file.write(os.getcwd())
"""

LIST = """
import sys
from flows.cli.main import main
sys.argv = ["textmill", "prefect", "deployment", "ls"]
main()
"""

TINY_PREFECT_YAML = """
name: tiny
pull:
  - flows.servers.deploy.enter_checkout: {}
deployments:
  - name: tiny
    entrypoint: tiny.py:tiny
    work_pool: {name: textmill}
    schedules:
      - {cron: "0 2 * * *", timezone: Europe/Berlin}
"""


def in_new_process(code: str, cwd: Path, **variables: str) -> str:
    """Run code as a user's command would run: own process, own environment. Returns what it printed."""
    inherited = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
    environment = {name: os.environ[name] for name in inherited if name in os.environ}
    environment |= {"PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=cwd, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def runs(pid: int) -> bool:
    """Not if it is dead and only its parent, of an orphan the system's first process, has not looked yet."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def listened_on(pid: int) -> set[str]:
    """The addresses at which a process, or what it started, waits for connections."""
    connections = [each for member in tree(psutil.Process(pid)) for each in member.net_connections("inet")]
    return {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}


UP = "import json; from flows.servers import deploy; print(json.dumps(deploy.up()))"
DOWN = """
    import json
    from flows.servers import processes, services
    processes.STOP_TIMEOUT = 600  # a busy machine kills nobody
    print(json.dumps(services.down()))
"""
RUN_TINY = """
    from tasks.machine import home
    home.configure_environment()
    from prefect.deployments import run_deployment
    run = run_deployment("tiny/tiny", parameters={"answer": ANSWER}, timeout=1000)
    print(run.state.name)
    from prefect.client.orchestration import get_client
    with get_client(sync_client=True) as client:
        deployments = client.read_deployments()
        print(f"deployments={len(deployments)} pools={len(client.read_work_pools())}", end=" ")
        print(f"automations={len(client.read_automations())}", end=" ")
        import time
        for _ in range(900):  # the scheduler looks once a minute
            scheduled = [run for run in client.read_flow_runs(limit=200) if run.auto_scheduled]
            if scheduled:
                break
            time.sleep(1)
        print(f"scheduled={bool(scheduled)}", end=" ")
        print(*deployments[0].parameter_openapi_schema["definitions"]["Sizes"]["properties"])
"""


@pytest.mark.server
def test_up_twice_move_the_checkout_run_down(tmp_path: Path) -> None:
    checkout, moved, answer = tmp_path / "checkout", tmp_path / "moved", tmp_path / "answer"
    checkout.mkdir()
    (checkout / "tiny.py").write_text(TINY_FLOW)
    (checkout / "prefect.yaml").write_text(TINY_PREFECT_YAML)
    variables = {"TEXTMILL_HOME": str(tmp_path / "home")}
    ports = tmp_path / "home" / "services" / "ports.json"
    ports.parent.mkdir(parents=True)
    ports.write_text(json.dumps({name: free_port() for name in services.SERVERS}))  # others may start at this moment
    try:
        first = json.loads(in_new_process(UP, checkout, **variables))
        assert {found["state"] for found in first.values()} == {"running"}
        assert all(found["rss_bytes"] < 3 << 30 for found in first.values())
        assert {name: listened_on(found["pid"]) for name, found in first.items()} == {
            **{name: {"127.0.0.1"} for name in services.SERVERS},
            "worker": set(),
        }

        shutil.move(checkout, moved)
        ignores = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "  # as in the background of a script
        again = json.loads(in_new_process(ignores + UP, moved, **variables))
        assert [again[name]["pid"] for name in services.SERVERS] == [first[name]["pid"] for name in services.SERVERS]
        assert again["worker"]["pid"] != first["worker"]["pid"]  # it had the old checkout
        printed = in_new_process(RUN_TINY.replace("ANSWER", repr(str(answer))), moved, **variables)
        assert printed == "Completed\ndeployments=1 pools=1 automations=2 scheduled=True n\n"
        assert answer.read_text() == str(moved)
        assert "tiny/tiny" in in_new_process(LIST, moved, **variables)
    finally:
        ended = json.loads(in_new_process(DOWN, tmp_path, **variables))
    assert ended == dict.fromkeys(["worker", "mlflow", "prefect"], "ended")
    assert not list((tmp_path / "home" / "services").glob("*.pid"))
    assert not [found for found in again.values() if runs(found["pid"])]


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PREFECT_HOME", "PREFECT_API_URL", "MLFLOW_TRACKING_URI", "TEXTMILL_MANAGED"):
        monkeypatch.setenv(name, "")  # so that monkeypatch restores what is set later
        monkeypatch.delenv(name)
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def sleeper() -> Iterator[psutil.Process]:
    child = psutil.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    yield child
    child.kill()
    child.wait()


def write_record(name: str, record: Record) -> Path:
    path = home.services_path() / f"{name}.pid"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(vars(record)))
    return path


def test_a_reused_pid_is_never_ended(own_home: Path, sleeper: psutil.Process) -> None:
    file = write_record("mlflow", Record(sleeper.pid, sleeper.create_time() - 60, "", str(own_home), ""))
    assert services.status()["mlflow"]["state"] == "stopped"
    assert services.down() == {}
    assert sleeper.is_running()
    assert not file.exists()


def test_a_copied_home_leaves_the_original_alone(
    own_home: Path, sleeper: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record("mlflow", Record(sleeper.pid, sleeper.create_time(), "", str(own_home), ""))
    copy = shutil.copytree(own_home, own_home.parent / f"{own_home.name}-copy")
    monkeypatch.setenv("TEXTMILL_HOME", str(copy))
    assert services.down() == {}
    assert sleeper.is_running()


def test_down_ends_what_was_started_with_its_children(own_home: Path) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(100)'])"
    parent = psutil.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    while not parent.children():
        assert parent.poll() is None
    members = tree(parent)
    write_record("worker", Record(parent.pid, parent.create_time(), "", str(own_home), ""))
    assert services.down() == {"worker": "ended"}
    assert services.down() == {}
    assert len(members) == 2
    assert not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in members)


STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(100)"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STOP_TIMEOUT", "LAST_WAIT"):
        monkeypatch.setattr(f"flows.servers.processes.{name}", 0.2)


@pytest.mark.usefixtures("impatient")
def test_a_stubborn_service_is_killed_and_down_says_so(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    children = [subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE) for _ in range(2)]
    with children[0], children[1]:
        for number, child in enumerate(children, start=1):
            assert child.stdout is not None
            child.stdout.readline()
            record = Record(child.pid, psutil.Process(child.pid).create_time(), "", str(own_home), "")
            write_record(f"worker-gpu-{number}", record)
        stop()
        assert not any(psutil.pid_exists(child.pid) for child in children)
    said = capsys.readouterr()
    assert said.out == "stopped: worker-gpu-1, worker-gpu-2\n"
    words = " ".join(said.err.split())
    assert "warning: worker-gpu-2, or what it had started, did not end within 0 s and was killed; its log: " in words


def test_what_a_service_starts_while_it_ends_is_ended_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker may take up one more flow run at the moment at which it is asked to go."""
    monkeypatch.setattr("flows.servers.processes.STOP_TIMEOUT", 600)  # it ends by itself
    monkeypatch.setattr("flows.servers.processes.LAST_WAIT", 0.2)
    note = tmp_path / "pid"
    code = f"""
        import pathlib, signal, subprocess, sys, time
        def end(*_):
            late = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
            pathlib.Path({str(note)!r}).write_text(str(late.pid))
            sys.exit()
        signal.signal(signal.SIGTERM, end)
        print(1, flush=True)
        time.sleep(100)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as service:
        assert service.stdout is not None
        service.stdout.readline()
        assert end_tree(psutil.Process(service.pid)) == "killed"  # the late one was not asked
    late = int(note.read_text())
    assert not runs(late)


def test_a_service_is_not_waited_for_until_its_parent_has_looked() -> None:
    """Its dead entry stays in the process table for as long as who ran `up` lives and does not ask."""
    code = """
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"], start_new_session=True)
        print(child.pid, flush=True)
        time.sleep(100)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        service = psutil.Process(int(parent.stdout.readline()))
        assert end_tree(service) == "ended"
        assert service.status() == psutil.STATUS_ZOMBIE
        parent.kill()


def test_a_service_that_the_kernel_keeps_is_no_end(
    own_home: Path, sleeper: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_record("worker", Record(sleeper.pid, sleeper.create_time(), "", str(own_home), ""))
    monkeypatch.setattr(services, "end_trees", lambda processes: ["stays"] * len(processes))
    with pytest.raises(services.ServiceError, match="worker did not end upon SIGKILL either: it waits in the kernel"):
        services.down()
    assert file.exists()


def test_a_service_that_ends_at_once_shows_its_log(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such database')"]
    monkeypatch.setattr("flows.servers.launch.local_command", lambda name, port: command)
    with pytest.raises(services.ServiceError, match=r"mlflow service has ended; .*(\n.*)*no such database"):
        services.ensure("mlflow")


@pytest.mark.parametrize("call", ['launch.launch("worker", 0, None).start(1).wait()', 'launch.become("worker")'])
def test_a_service_that_a_script_starts_in_its_background_heeds_sigint(call: str, tmp_path: Path) -> None:
    """With it Prefect's worker ends itself when it is asked to by SIGTERM; `sh` has it ignored by what ends in `&`."""
    code = f"""
        import signal, sys
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        from flows.servers import launch
        said = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
        launch.local_command = lambda name, port: [sys.executable, "-c", said]
        launch.home.services_path().mkdir(parents=True)
        {call}
    """
    assert in_new_process(code, ROOT, TEXTMILL_HOME=str(tmp_path)) == "True\n"


def value_of(command: list[str], option: str) -> str:
    """What an option is given that stands there once."""
    assert command.count(option) == 1
    assert not any(word.startswith(f"{option}=") for word in command)
    return command[command.index(option) + 1]


@pytest.mark.parametrize("stack", ["local", "team"])
def test_servers_are_started_on_loopback_unless_told_otherwise(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, stack: str
) -> None:
    monkeypatch.delenv("TEXTMILL_LISTEN", raising=False)
    monkeypatch.setattr(postgres, "find_program", Path)  # it need not be installed
    monkeypatch.setattr(postgres, "prepare", lambda folder, password: folder)
    monkeypatch.setattr(postgres, "as_user", dict)
    options = {"prefect": "--host", "mlflow": "--host"} | ({"postgres": "-h"} if stack == "team" else {})
    if stack == "team":
        team.choose("team")

    def addresses() -> dict[str, str]:
        read = team.read_team()
        return {name: value_of(launch.launch(name, 4000, read).command, option) for name, option in options.items()}

    assert addresses() == dict.fromkeys(options, "127.0.0.1")
    monkeypatch.setenv("TEXTMILL_LISTEN", "0.0.0.0")
    if stack == "team":
        team.choose("team")
        assert addresses() == {"prefect": "0.0.0.0", "mlflow": "0.0.0.0", "postgres": "127.0.0.1"}
    else:  # it has no passwords
        assert addresses() == dict.fromkeys(options, "127.0.0.1")


def test_an_address_of_the_user_is_used_or_refused(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{own_home}/mine.db")
    services.ensure("mlflow")
    assert services.status()["mlflow"]["state"] == "external"
    with socket.socket() as nobody:  # bound, not listening: refuses
        nobody.bind((home.HOST, 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", home.mlflow_url(nobody.getsockname()[1]))
        with pytest.raises(services.ServiceError, match=r"MLFLOW_TRACKING_URI=http.* is set, but no mlflow"):
            services.ensure("mlflow")
        assert services.status()["mlflow"]["state"] == "unreachable"
    assert not list(own_home.rglob("*.pid"))


def test_prefects_own_commands_want_a_server(own_home: Path) -> None:
    done = CliRunner().invoke(app, ["prefect", "deployment", "ls"])
    assert isinstance(done.exception, services.ServiceError)
    assert "no Prefect server answers: `textmill up` starts one" in str(done.exception)


def test_a_damaged_pid_file_says_what_to_do(own_home: Path) -> None:
    home.services_path().mkdir(parents=True)
    (home.services_path() / "prefect.pid").write_text("{")
    with pytest.raises(services.ServiceError, match=r"prefect\.pid is damaged .* remove the file"):
        services.status()


def test_listens_sees_the_port_of_a_child(sleeper: psutil.Process) -> None:
    with socket.socket() as server:
        server.bind((home.HOST, 0))
        server.listen()
        port = server.getsockname()[1]
        assert listens(psutil.Process(), port)
        assert not listens(sleeper, port)
