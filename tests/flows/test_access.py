"""How a server is asked: with which password, and what is no answer. The server here is one of our own."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from flows.commands.start import _links
from flows.servers import access, doctor_team, services, team
from flows.servers.status_prefect import prefect_now
from tasks.machine import credentials

pytestmark = pytest.mark.usefixtures("empty_home")

PLAIN = "http://127.0.0.1:4200"

Answer = Callable[[str, str | None], tuple[int, str]]
"""Of path and `Authorization` header: status and content."""


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """A server; its `host:port`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content = answer(self.path, self.headers.get("Authorization"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content.encode())

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def guarded(header: str) -> Answer:
    return lambda path, given: (200 if path.endswith("/health") or given == header else 401, "[]")


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


def test_a_header_is_sent_only_where_there_is_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    assert access.authorization("prefect", PLAIN) == access.authorization("mlflow", PLAIN) == {}
    monkeypatch.setenv(credentials.PREFECT, "Aladdin:open sesame")  # the example of RFC 7617
    assert access.authorization("prefect", PLAIN) == {"Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}
    assert access.authorization("mlflow", PLAIN) == {}


def test_a_pair_goes_before_a_token_as_in_the_servers_own_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "key")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    monkeypatch.setenv(credentials.MLFLOW_USER, "me")  # without a password it is none
    assert access.authorization("prefect", PLAIN) == {"Authorization": "Bearer key"}
    assert access.authorization("mlflow", PLAIN) == {"Authorization": "Bearer token"}
    monkeypatch.setenv(credentials.MLFLOW_PASSWORD, "long")
    monkeypatch.setenv(credentials.PREFECT, "me:short")
    assert access.authorization("mlflow", PLAIN) == {"Authorization": basic("me:long")}
    assert access.authorization("prefect", PLAIN) == {"Authorization": basic("me:short")}
    assert access.authorization("mlflow", "http://you:a%2Fb@host") == {"Authorization": basic("you:a/b")}


@pytest.mark.parametrize(
    ("header", "user", "variables"),
    [
        ("Bearer key", "", {"PREFECT_API_KEY": "key", "MLFLOW_TRACKING_TOKEN": "key"}),
        (basic("me:secret"), "me:secret@", {}),
    ],
)
def test_whom_a_server_of_others_lets_in_is_not_refused(
    monkeypatch: pytest.MonkeyPatch, header: str, user: str, variables: dict[str, str]
) -> None:
    with serving(guarded(header)) as host:
        monkeypatch.setenv("PREFECT_API_URL", f"http://{user}{host}/api")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{user}{host}")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        services.ensure("prefect", "mlflow")
        found = prefect_now()
        assert found is not None
        assert found["waiting"] == []


def test_whom_it_refuses_is_told_so_and_shown_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(guarded(basic("me:right"))) as host:
        monkeypatch.setenv("PREFECT_API_URL", f"http://me:secret@{host}/api")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///x.db")
        with pytest.raises(
            services.ServiceError, match=f"the prefect server at http://{host}/api refuses us"
        ) as caught:
            services.ensure("prefect")
        team.choose("team")
        [found] = [check.found for check in doctor_team.team_stack() if check.name == "prefect access"]
        assert found == f"http://{host}/api refuses us"
        assert "secret" not in str(caught.value)
        assert prefect_now() is None


@pytest.mark.parametrize("content", ["no JSON", '{"detail": "sign in"}', "7"])
def test_what_is_no_prefect_server_is_none(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    with serving(lambda path, header: (200, content)) as host:
        monkeypatch.setenv("PREFECT_API_URL", f"http://{host}/api")
        assert prefect_now() is None


def test_what_does_not_speak_http_is_no_answer() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            for _ in range(2):
                connection, _address = server.accept()
                with connection:
                    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                    connection.recv(4096)

        Thread(target=greet, daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(OSError, match=r"no answer of HTTP \(BadStatusLine\)"):
            access.ask("mlflow", address, "/version")
        assert not access.answers("mlflow", address)
    assert not access.answers("mlflow", "http://127.0.0.1:port")


def test_the_link_to_our_experiment_has_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.dumps({"experiment": {"experiment_id": "4"}})
    with serving(lambda path, header: (200, content) if header == basic("me:secret") else (401, "{}")) as host:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@{host}")
        view = "/#/experiments/4/runs?workflowType=machine_learning"
        assert _links(None)["MLflow"] == f"http://{host}{view}"
