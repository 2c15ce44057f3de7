"""What a flow run says of an error: the sentence alone where that says all."""

import logging

import pytest

from data_quality.errors import UsageError
from flows.running import _without_traceback
from flows.servers.approval import NotAnswered
from tasks.profile import GateClosed
from tasks.store import StoreError


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (UsageError("say it"), False),
        (StoreError("no artifact is called 'x'"), False),
        (GateClosed("the corpus moved"), False),
        (NotAnswered("nobody answered"), False),
        (ValueError("a fault of the program"), True),
        (None, False),
    ],
)
def test_a_traceback_is_shown_for_faults_of_the_program_alone(error: Exception | None, shown: bool) -> None:
    raised = (type(error), error, None) if error else (None, None, None)
    record = logging.LogRecord("prefect.flow_runs", logging.ERROR, __file__, 1, "failed", (), raised)  # type: ignore[arg-type]
    assert _without_traceback(record)
    assert bool(record.exc_info) == shown
