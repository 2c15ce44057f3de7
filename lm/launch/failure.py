"""What a rank leaves that failed, and which of several failures was the first."""

import json
import re
import time
import traceback
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

import torch.distributed as dist

from lm.launch.job import LOG, Job, write_whole
from lm.train.non_finite import NonFiniteError

TAIL = 2000  # characters of a log that a message shows
TALK = re.compile(r"gloo|nccl|connection (closed|reset|refused)|broken pipe|timed? ?out", re.IGNORECASE)
"""How an error reads that only says that another rank is gone."""


class RankFailed(RuntimeError):
    """A process of a shared training failed; the message is its own error, and a note has its traceback."""


def leave_error(job: Job, rank: int, error: BaseException) -> None:
    """Write what went wrong on this rank where the others and the one who started them see it."""
    talk = isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and TALK.search(str(error)) is not None
    )
    said = {
        "rank": rank,
        "error": type(error).__name__,
        "message": "; ".join([str(error), *getattr(error, "__notes__", [])]),
        "traceback": "".join(traceback.format_exception(error)),
        "time": time.time(),
        "of another": talk,
    }
    write_whole(job.error(rank), said)


def failures(job: Job) -> list[dict[str, Any]]:
    """What failed so far, what is to blame first: what is more than missing another rank, and of that the earliest."""
    found = [json.loads(path.read_text()) for path in job.errors()]
    return sorted(found, key=lambda said: (said["of another"], said["time"]))


def failure(job: Job, status: int) -> Exception:
    """What to raise when torchrun ended with that exit status."""
    if not (found := failures(job)) or found[0]["of another"]:
        killed = killed_rank(job.folder / LOG)
        text = killed or f"torchrun ended with status {status}; the end of its log:\n{log_tail(job.folder / LOG)}"
        return RankFailed(text)
    said = found[0]
    if said["error"] == NonFiniteError.__name__:
        return NonFiniteError(said["message"])
    error = RankFailed(f"rank {said['rank']} of {job.parallel.ranks} failed: {said['error']}: {said['message']}")
    error.add_note(said["traceback"])
    return error


def killed_rank(log: Path) -> str | None:
    """What torchrun's log says of a rank that a signal ended; not by SIGTERM, with which it ends the others itself."""
    text = log.read_text(errors="replace") if log.exists() else ""
    ended = re.findall(r"rank\s*:\s*(\d+) \(local.*?exitcode\s*:\s*(-?\d+)", text, re.DOTALL)
    found = next(((rank, -int(status)) for rank, status in ended if int(status) < 0 and int(status) != -SIGTERM), None)
    if found is None:
        return None
    rank, number = found
    advice = "; without a hand behind it usually the system's, for want of memory" if number == SIGKILL else ""
    return f"rank {rank} was ended by signal {number}{advice}"


def log_tail(log: Path) -> str:
    """The end of a log."""
    return log.read_text(errors="replace")[-TAIL:] if log.exists() else ""
