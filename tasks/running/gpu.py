"""Two trainings do not share a GPU: a global concurrency limit of the Prefect server, one for each machine.

A training on `cuda` takes a slot of the limit `textmill-gpu-<host>` and gives it back; whoever finds none free waits,
whichever deployment or terminal it was started from. A slot is a lease: of a process that was killed it comes back by
itself after `LEASE_SECONDS`. A server that does not answer stops no training.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType

from tasks.machine.host import HOST
from tasks.running.run import current_run

logger = logging.getLogger("textmill.gpu")

LIMIT = "TEXTMILL_GPU_LIMIT"
"""Environment variable: another name than `textmill-gpu-<host>`, where workers of one machine have a GPU each."""
SLOTS = "TEXTMILL_GPU_SLOTS"
"""Environment variable: trainings at a time; 1 if unset."""
LEASE_SECONDS = 120.0


def limit_name() -> str:
    """The limit of this machine's GPU."""
    return os.environ.get(LIMIT) or "textmill-gpu-" + re.sub(r"[^A-Za-z0-9.-]", "-", HOST)


def create_limits(only_missing: bool = False) -> None:
    """Create this machine's limit on the Prefect server, and unless `only_missing` bring its slots in line.

    Raises:
        ValueError: TEXTMILL_GPU_SLOTS is no number above 0.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

    written = os.environ.get(SLOTS, "1")
    if not written.isdecimal() or int(written) < 1:
        raise ValueError(f"{SLOTS}={written}: write how many trainings may share this machine's GPU, 1 or more")
    with get_client(sync_client=True) as client:
        if only_missing:
            with suppress(ObjectNotFound):
                client.read_global_concurrency_limit_by_name(limit_name())
                return
        with suppress(ObjectAlreadyExists):  # another training was faster
            client.upsert_global_concurrency_limit_by_name(limit_name(), int(written))


@contextmanager
def gpu_slot(device: str) -> Iterator[None]:
    """Hold a slot of this machine's GPU inside the block; nothing for another device or outside of Prefect.

    Args:
        device: that of the training, resolved: `cuda`, `cuda:1`, `cpu`.
    """
    with ExitStack() as stack:
        if device.startswith("cuda") and current_run().flow_run_id:
            _take(stack)
        yield


def _take(stack: ExitStack) -> None:
    from prefect.concurrency.sync import concurrency

    name = limit_name()
    held = concurrency(name, lease_duration=LEASE_SECONDS, raise_on_lease_renewal_failure=False)

    def give_back(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            held.__exit__(kind, error, trace)
        except Exception as problem:  # noqa: BLE001
            if problem is not error:
                logger.warning(
                    "the slot of %s was not given back (%s); it ends by itself", name, type(problem).__name__
                )

    try:
        create_limits(only_missing=True)
        logger.info("waiting for the GPU (limit %s)", name)
        held.__enter__()
    except Exception as error:  # noqa: BLE001  whatever the server says: a training is not stopped by it
        logger.warning("Prefect gave out no slot of %s (%s); the training goes on without", name, type(error).__name__)
        return
    stack.push(give_back)
    logger.info("has the GPU")
