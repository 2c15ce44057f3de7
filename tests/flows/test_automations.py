"""Which automations are wanted, and how two are compared; a real server has them in tests/flows/test_schedules.py."""

import importlib
from datetime import timedelta
from uuid import UUID

import pytest

from flows.servers.automations import (
    FAILED,
    GATE,
    HEARTBEAT,
    NOT_BEGUN,
    TAG,
    WAITING,
    _shape,
    notification_block,
    wanted_automations,
)
from flows.servers.services import ServiceError
from tasks.machine.home import configure_environment
from tasks.running.gpu import create_limits, gpu_slot, limit_name

BLOCK = UUID(int=7)


@pytest.fixture(autouse=True)
def beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")


def test_without_a_block_only_those_about_dead_runs() -> None:
    assert [each.name for each in wanted_automations(None)] == [HEARTBEAT, NOT_BEGUN]
    assert [each.name for each in wanted_automations(BLOCK)] == [HEARTBEAT, NOT_BEGUN, FAILED, GATE, WAITING]


@pytest.mark.parametrize(("beat", "within"), [("30", 90), ("180", 540)])
def test_three_missed_beats_however_rare_they_are(monkeypatch: pytest.MonkeyPatch, beat: str, within: int) -> None:
    """A user's own frequency stays: a run that beats as it says must not count as dead."""
    monkeypatch.setenv("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", beat)
    heartbeat = next(iter(wanted_automations(None))).model_dump(mode="json")
    assert heartbeat["trigger"]["within"] == within
    assert f"No heartbeat for {within} s" in heartbeat["actions"][0]["message"]


def test_a_server_that_was_away_still_knows_what_it_waits_for() -> None:
    """By itself it forgets a heartbeat a minute after it was due, and who holds a deployment's place when it ends."""
    from prefect.server.concurrency.lease_storage import ConcurrencyLeaseStorageModule
    from prefect.settings import Settings

    configure_environment()
    server = Settings().server  # as a server reads the environment
    assert server.events.expired_bucket_buffer == timedelta(days=30)
    storage = importlib.import_module(server.concurrency.lease_storage)
    assert isinstance(storage, ConcurrencyLeaseStorageModule)
    assert storage.__name__.endswith(".filesystem")


def test_runs_without_our_tag_are_not_meant() -> None:
    """Another's flow on the same server may beat every three minutes, as Prefect does by itself."""
    for each in list(wanted_automations(None)):
        related = each.model_dump(mode="json")["trigger"]["match_related"]
        assert related == {"prefect.resource.id": [f"prefect.tag.{TAG}"]}


def test_the_same_automation_has_the_same_shape_whatever_the_order_of_its_sets() -> None:
    for first, second in zip(wanted_automations(BLOCK), wanted_automations(BLOCK), strict=True):
        assert _shape(first) == _shape(second)
    shapes = [str(_shape(each)) for each in wanted_automations(BLOCK)]
    assert len(set(shapes)) == len(shapes)
    assert shapes[2] != str(_shape(list(wanted_automations(UUID(int=8)))[2]))  # the first message


def test_no_block_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEXTMILL_NOTIFY", raising=False)
    assert notification_block(None) is None
    for named in ("mill", "/mill", "slack-webhook/"):
        monkeypatch.setenv("TEXTMILL_NOTIFY", named)
        with pytest.raises(ServiceError, match=f"TEXTMILL_NOTIFY={named}: write TYPE/NAME"):
            notification_block(None)


def test_slots_and_names_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limit_name().startswith("textmill-gpu-")
    monkeypatch.setenv("TEXTMILL_GPU_LIMIT", "textmill-gpu-left")
    assert limit_name() == "textmill-gpu-left"
    for slots in ("0", "two", "-1"):
        monkeypatch.setenv("TEXTMILL_GPU_SLOTS", slots)
        with pytest.raises(ValueError, match=f"TEXTMILL_GPU_SLOTS={slots}: write how many"):
            create_limits()


def test_outside_of_prefect_a_training_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("tasks.running.gpu._take", asked.append)
    with gpu_slot("cuda"), gpu_slot("cpu"):
        assert asked == []
