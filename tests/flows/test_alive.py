"""A flow run that the server takes for dead contradicts; a real server does in tests/chaos/test_servers.py."""

import logging
import threading
import time
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES
from prefect.states import Cancelled, Completed, Crashed, Running, State

from flows.servers import alive
from flows.servers.automations import HEARTBEAT, wanted_automations

RUN = UUID(int=7)
SILENT = Crashed(message="No heartbeat for 90 s: its process is gone.")


class Server:
    """What a client of Prefect is asked here: one flow run, its state, and whether another one is accepted."""

    def __init__(self, state: State[Any] | Exception | None, accepts: bool = True) -> None:
        self.state, self.accepts, self.asked, self.told = state, accepts, 0, []  # type: ignore[var-annotated]

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def read_flow_run(self, run: UUID) -> SimpleNamespace:
        assert run == RUN
        self.asked += 1
        if isinstance(self.state, Exception):
            raise self.state
        return SimpleNamespace(state=self.state)

    def set_flow_run_state(self, run: UUID, state: State[Any]) -> SimpleNamespace:
        assert run == RUN
        self.told.append(state)
        if self.accepts:
            self.state = state
        return SimpleNamespace(status=SimpleNamespace(value="ACCEPT" if self.accepts else "ABORT"))


def looked(server: Server) -> list[State[Any]]:
    """What it is told when a run looks once."""
    alive._look(server, RUN)  # type: ignore[arg-type]
    return server.told


def test_a_run_that_counts_as_dead_says_that_it_lives(caplog: pytest.LogCaptureFixture) -> None:
    [said] = looked(server := Server(SILENT))
    assert said.is_running()
    assert said.message == "It lives: the server had missed its heartbeats."
    assert "set it to Crashed; it is Running again" in caplog.text
    assert looked(server) == [said]  # and not again


@pytest.mark.parametrize(
    "state", [None, Running(), Completed(), Cancelled(), Crashed(), Crashed(message="the machine went down")]
)
def test_what_somebody_else_has_set_stays(state: State[Any] | None) -> None:
    assert looked(Server(state)) == []


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("away"), httpx.ReadTimeout("slow"), ObjectNotFound(Exception()), ValueError("no JSON")]
)
def test_a_server_that_is_away_is_asked_again(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "textmill.alive")
    assert looked(Server(error)) == []
    assert "the server was not asked" in caplog.text


def test_nothing_is_claimed_that_the_server_has_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    assert len(looked(Server(SILENT, accepts=False))) == 1
    assert caplog.text == ""


def test_it_is_looked_while_the_block_runs_and_nothing_is_said_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the end of the run, which comes then, could be overwritten."""
    server, answers = Server(SILENT), threading.Event()
    slow = server.set_flow_run_state

    def answer_late(run: UUID, state: State[Any]) -> SimpleNamespace:
        answers.set()
        time.sleep(0.2)
        return slow(run, state)

    monkeypatch.setattr(server, "set_flow_run_state", answer_late)
    monkeypatch.setattr(alive, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr("prefect.client.orchestration.get_client", lambda **_: server)
    with alive.kept_running(str(RUN)):
        answers.wait()
    assert len(server.told) == 1  # the block has waited for the call that was under way
    asked = server.asked
    time.sleep(0.05)
    assert (server.asked, "kept_running" in [each.name for each in threading.enumerate()]) == (asked, False)


def test_no_call_is_repeated_within_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the run would wait for all of them."""
    repeats: list[int] = []

    class Looked(Server):
        def read_flow_run(self, run: UUID) -> SimpleNamespace:
            repeats.append(PREFECT_CLIENT_MAX_RETRIES.value())
            return super().read_flow_run(run)

    monkeypatch.setattr(alive, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr("prefect.client.orchestration.get_client", lambda **_: Looked(Running()))
    before = PREFECT_CLIENT_MAX_RETRIES.value()
    with alive.kept_running(str(RUN)):
        while not repeats:
            assert PREFECT_CLIENT_MAX_RETRIES.value() == before > 0  # of the run itself
            time.sleep(0.01)
    assert set(repeats) == {0}


def test_without_a_flow_run_nobody_is_asked() -> None:
    with alive.kept_running(None):
        assert "kept_running" not in [each.name for each in threading.enumerate()]


def test_it_answers_to_what_the_automation_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")
    [heartbeat] = [each for each in wanted_automations(None) if each.name == HEARTBEAT]
    [action] = heartbeat.model_dump()["actions"]
    [said] = looked(Server(Crashed(message=action["message"])))
    assert said.is_running()
