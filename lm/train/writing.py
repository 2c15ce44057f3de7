"""One thing at a time done beside the training: what a checkpoint's disk makes one wait for."""

import logging
import threading
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

log = logging.getLogger(__name__)


class Beside:
    """Runs one piece of work at a time in a thread; what goes wrong in it is raised by the next call."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin `work` once the work before is done."""
        self.wait()

        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 the training's thread raises it
                self._error = error

        self._thread = threading.Thread(target=run, daemon=True, name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Return once nothing is under way."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def settle(self) -> None:
        """`wait` on the way out with another error: what goes wrong here is logged."""
        try:
            self.wait()
        except Exception as error:
            log.warning("writing the last checkpoint failed: %s: %s", type(error).__name__, error, exc_info=error)


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in memory of their own on the CPU, for the training goes on with those that are given.

    From a GPU they are copied into pinned memory, as fast as it can; torch keeps that for the next time.

    Raises:
        RuntimeError: two of them are the same memory; in a checkpoint each would become a tensor of its own.
    """
    held: dict[int, str] = {}
    for name, tensor in tensors.items():
        if tensor.numel() and (other := held.setdefault(tensor.data_ptr(), name)) != name:
            raise RuntimeError(f"{other} and {name} share their memory: a checkpoint needs one name for it")
    copies = {name: _copy(tensor) for name, tensor in tensors.items()}
    if any(tensor.is_cuda for tensor in tensors.values()):
        torch.cuda.synchronize()  # until they are there
    return copies


def _copy(tensor: Tensor) -> Tensor:
    source = tensor.detach()
    empty = torch.empty(source.shape, dtype=source.dtype, device="cpu", pin_memory=source.is_cuda)
    return empty.copy_(source, non_blocking=True)
