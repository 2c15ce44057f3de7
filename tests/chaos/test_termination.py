"""A SIGTERM that comes where Python forgets exceptions still ends the run, before the next stage."""

import os
import signal
from collections.abc import Iterator

import pytest

from tasks.machine import termination
from tasks.running.run import Run
from tests.tasks.conftest import run, store  # noqa: F401  fixtures
from tests.tasks.stages import NumbersConfig, numbers, slow


@pytest.fixture(autouse=True)
def handler_is_restored() -> Iterator[None]:
    former = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, former)
    termination._received.clear()


class Deaf:
    """Its destructor gets the signal."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(10):
            pass  # instructions between which the handler runs


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_in_a_destructor_ends_the_run_before_the_next_stage(run: Run) -> None:  # noqa: F811
    termination.exit_on_sigterm()
    numbers(NumbersConfig())
    Deaf()  # what the handler raises is ignored here
    with pytest.raises(SystemExit) as ended:
        slow(NumbersConfig())
    assert ended.value.code == 128 + signal.SIGTERM
    assert [record.stage for record in run.records] == ["numbers"]


def test_a_new_run_in_the_same_process_is_not_ended(run: Run) -> None:  # noqa: F811
    termination.exit_on_sigterm()
    with pytest.raises(SystemExit):
        os.kill(os.getpid(), signal.SIGTERM)
    termination.exit_on_sigterm()
    assert numbers(NumbersConfig()).counts() == {"numbers": 4}
