"""Prefect automations that `textmill up` keeps: dead flow runs become Crashed, and people are told what they wait for.

Flow runs of ours have the tag `textmill`. A server may have others, whose heartbeats are rarer: those are left alone.

Ours are known by their names, which begin with `Textmill: `. What is here is created, what differs is updated, what is
no longer wanted goes; automations of other names are never touched.

Messages go to a notification block of the Prefect server (Slack, Teams, e-mail, a webhook, ...): TEXTMILL_NOTIFY names
it as `type/name`, such as `slack-webhook/mill`. Its address and its secrets stay in the block.
"""

import os
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flows.servers.services import ServiceError
from tasks.running.reconcile import SILENT

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.events.schemas.automations import AutomationCore

PREFIX = "Textmill: "
NOTIFY = "TEXTMILL_NOTIFY"

HEARTBEAT = PREFIX + "a flow run without a heartbeat has crashed"
NOT_BEGUN = PREFIX + "a flow run that did not begin has crashed"
FAILED = PREFIX + "a flow run failed"
GATE = PREFIX + "a gate closed"
WAITING = PREFIX + "a promotion waits for approval"

TAG = "textmill"
"""Of all our flow runs: of deployments by prefect.yaml, of the command line by flows/commands/start.py."""

BEAT = "prefect.flow-run.heartbeat"
SUSPENDED = "textmill.flow-run.suspended"
"""What a flow run says itself as it ends to wait for a person (flows/servers/approval.py)."""

MISSED_BEATS = 3
BEGUN_WITHIN = timedelta(minutes=5)
"""From the moment when a worker takes a flow run to its first sign: Python, the imports, the pull step."""

TAKEN = ("Pending", "Submitting", "InfrastructurePending")
"""Flow run states between the moment when a worker takes a run and its beginning."""
_BEGUN = ("Running", "Retrying")
_WAITS = ("Scheduled", "Late", "AwaitingRetry", "AwaitingConcurrencySlot", "Resuming")
_OVER = ("Completed", "Cached", "Failed", "Crashed", "Cancelled", "Paused", "Suspended", *_WAITS)
"""Flow run states in which no heartbeat is due."""

_GATE_MESSAGE = "*GateClosed: *"
"""What the message of a run's state looks like when tasks/profile.py has raised."""

_ABOUT = "{{ flow.name }} / {{ flow_run.name }}"
_BODY = "{{ flow_run.state.message }}\n{{ flow_run|ui_url }}"


def install_automations() -> int:
    """Bring the automations of the server in line with what is wanted. Returns how many were changed.

    Raises:
        ServiceError: TEXTMILL_NOTIFY names no block of the server that can notify.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        wanted = {each.name: each for each in wanted_automations(notification_block(client))}
        ours = [each for each in client.read_automations() if each.name.startswith(PREFIX)]
        changed = 0
        for found in ours:
            target = wanted.pop(found.name, None)
            if target is None:
                client.delete_automation(found.id)
                changed += 1
            elif _shape(found) != _shape(target):
                client.update_automation(found.id, target)
                changed += 1
        for missing in wanted.values():
            client.create_automation(missing)
            changed += 1
    return changed


def notification_block(client: Any) -> "UUID | None":
    """The id of the block that TEXTMILL_NOTIFY names; None if it names none.

    Raises:
        ServiceError: it is not written as `type/name`, or there is no such block.
    """
    from prefect.exceptions import ObjectNotFound

    named = os.environ.get(NOTIFY, "")
    if not named:
        return None
    kind, slash, name = named.partition("/")
    if not (kind and slash and name):
        raise ServiceError(f"{NOTIFY}={named}: write TYPE/NAME, for example slack-webhook/mill")
    try:
        block = client.read_block_document_by_name(name, kind, include_secrets=False)
    except ObjectNotFound as error:
        raise ServiceError(
            f"{NOTIFY}={named}: the Prefect server has no such block; create it in the UI (Blocks, +), or unset the "
            "variable to be told nothing"
        ) from error
    if "notify" not in (block.block_schema.capabilities if block.block_schema else []):
        raise ServiceError(f"{NOTIFY}={named}: a block of type {kind} sends no notifications; use one that does")
    return block.id


def wanted_automations(block: "UUID | None") -> Iterator["AutomationCore"]:
    """The two about dead runs, and with a block the three messages."""
    yield _heartbeat()
    yield _not_begun()
    if block is None:
        return
    failed = {"prefect.flow-run.Failed", "prefect.flow-run.Crashed"}
    yield _message(block, FAILED, failed, f"Failed: {_ABOUT}", _BODY, {"prefect.state-message": f"!{_GATE_MESSAGE}"})
    yield _message(
        block,
        GATE,
        {"prefect.flow-run.Failed"},
        f"A gate closed, nothing was built: {_ABOUT}",
        _BODY,
        {"prefect.state-message": _GATE_MESSAGE},
    )
    yield _message(
        block,
        WAITING,
        {"prefect.flow-run.Suspended", "prefect.flow-run.Paused"},
        f"Waits for your approval: {_ABOUT}",
        "Resume it and say yes or no:\n{{ flow_run|ui_url }}",
        {},
        related={"prefect.resource.role": "flow", "prefect.resource.name": "champion"},
    )


def heartbeat_within() -> timedelta:
    """After which time without a heartbeat a flow run counts as dead, by the frequency that the environment says."""
    return MISSED_BEATS * timedelta(seconds=int(os.environ["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]))


def _heartbeat() -> "AutomationCore":
    """A flow run whose process and worker were both killed would stay Running for ever.

    The server still knows what it waited for when it starts again (tasks/machine/home.py), and so takes runs for dead
    whose heartbeats it has missed itself; those that live say so.
    """
    within = heartbeat_within()
    return _crashed(
        HEARTBEAT,
        "A flow run that was killed together with its worker says nothing any more.",
        # the first heartbeat comes with the state, or the process is gone in between
        {BEAT, *_events(_BEGUN)},
        within,
        f"{SILENT}{within.total_seconds():.0f} s: its process is gone. Run again, it goes on. "
        "(One that lives says Running again by itself.)",
    )


def _not_begun() -> "AutomationCore":
    """A flow run that died between its worker and its first line would stay Pending, and hold its deployment's slot."""
    minutes = BEGUN_WITHIN.total_seconds() / 60
    return _crashed(
        NOT_BEGUN,
        "A flow run whose worker was killed before it had begun says nothing any more.",
        _events(TAKEN),
        BEGUN_WITHIN,
        f"It did not begin within {minutes:.0f} minutes: its process or its worker is gone. Run it again.",
    )


def _events(states: Iterable[str]) -> set[str]:
    return {f"prefect.flow-run.{state}" for state in states}


def _crashed(name: str, description: str, after: set[str], within: timedelta, message: str) -> "AutomationCore":
    """Set a flow run of ours to Crashed if nothing is heard of it for so long after one of these events."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    return AutomationCore(
        name=name,
        description=description,
        trigger=EventTrigger(
            after=after,
            expect={*after, BEAT, SUSPENDED, *_events(_BEGUN), *_events(_OVER)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            match_related=ResourceSpecification({"prefect.resource.id": [f"prefect.tag.{TAG}"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[ChangeFlowRunState(name="Crashed", state=StateType.CRASHED, message=message, force=False)],
    )


def _message(
    block: "UUID",
    name: str,
    events: set[str],
    subject: str,
    body: str,
    match: dict[str, str],
    related: dict[str, str] | None = None,
) -> "AutomationCore":
    """Send a message for every event of a flow run; with `related`, of those only that have such a resource beside."""
    from prefect.events.actions import SendNotification
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    return AutomationCore(
        name=name,
        description=f"Sent to the block that {NOTIFY} named when `textmill up` ran.",
        trigger=EventTrigger(
            expect=events,
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*", **match}),
            match_related=ResourceSpecification(related or {}),
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[SendNotification(block_document_id=block, subject=subject, body=body)],
    )


def _shape(automation: Any) -> Any:
    """What says whether two automations do the same; without ids and times."""
    found = automation.model_dump(include={"trigger", "actions", "description", "enabled"}, mode="json")
    found["trigger"].pop("id", None)
    for key in ("expect", "after", "for_each"):  # sets, in an order that differs from time to time
        found["trigger"][key] = sorted(found["trigger"].get(key) or [])
    return found
