"""Starting torchrun for a shared pretraining, listening to it, and ending with it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lm.launch.events import Listener, logger
from lm.launch.failure import failure
from lm.launch.job import EVENTS, LOG, RESULT, Job, write_job
from lm.parallel import ParallelConfig
from lm.recipes.recipe import Given
from lm.stop import Interrupted, ShouldStop
from lm.train.hooks import Hooks

POLL_SECONDS = 0.1
END_SECONDS = 10.0
"""For torchrun to end once a rank has failed, or once nobody listens."""
LOOPBACK = {"linux": "lo", "darwin": "lo0"}


def pretrain_shared(
    given: Given,
    parallel: ParallelConfig,
    checkpoints: Path,
    out_dir: Path,
    hooks: Hooks,
    scratch: Path,
    threads: int,
) -> dict[str, Any]:
    """`lm.pretrain.pretrain` in `parallel.ranks` processes; job, log and events are in a folder of `scratch`.

    Raises NotShareable for what cannot be shared, Interrupted (with a checkpoint written) when `given.should_stop` asks
    or a rank got SIGTERM, NonFiniteError, and RankFailed with the error of the rank that failed first.
    """
    parallel.require_shareable(given.settings, given.config)
    parallel = parallel.here()
    scratch.mkdir(parents=True, exist_ok=True)
    for earlier in scratch.glob("attempt-*"):
        shutil.rmtree(earlier, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="attempt-", dir=scratch)) / "job"
    job = Job(folder.absolute(), parallel, checkpoints, out_dir, threads)
    write_job(job, given)
    if parallel.nodes > 1:
        logger.warning(
            "waiting at %s for %d more machine(s); on each of them: python -m lm.launch.join %s",
            *(parallel.rendezvous, parallel.nodes - 1, job.folder),
        )
    listener = Listener(job.folder / EVENTS, hooks)
    status = run(job, listener, given.should_stop)
    if listener.interrupted is not None:
        raise Interrupted(listener.interrupted)
    if status != 0 or not (job.folder / RESULT).exists():
        raise failure(job, status)
    found: dict[str, Any] = json.loads((job.folder / RESULT).read_text())
    return found


def run(job: Job, listener: Listener | None, should_stop: ShouldStop) -> int:
    """Start this machine's processes and stay until they have ended; returns torchrun's exit status."""
    with torchrun(job, main=listener is not None) as agent:
        asked, failed_at = False, None
        while agent.poll() is None:
            time.sleep(POLL_SECONDS)
            if listener is not None:
                listener.listen()
            if not asked and should_stop():
                asked = True
                _ask(agent)
            if failed_at is None and job.errors():
                failed_at = time.monotonic()
            if failed_at is not None and time.monotonic() - failed_at > END_SECONDS:
                break
    if listener is not None:
        listener.listen()
    return agent.returncode


def _ask(agent: "subprocess.Popen[bytes]") -> None:
    """Ask one rank, whichever reads it first, for a checkpoint and the end: ranks agree before each step."""
    assert agent.stdin is not None
    try:
        agent.stdin.write(b"s")
        agent.stdin.flush()
    except BrokenPipeError:
        pass  # they have just ended


@contextmanager
def torchrun(job: Job, main: bool) -> Iterator["subprocess.Popen[bytes]"]:
    """torchrun with this machine's processes, in a session of its own: Ctrl-C in a terminal is for the process that
    started it. However the block ends, they end with it."""
    log = job.folder / (LOG if main else f"log-{os.uname().nodename}.txt")
    with log.open("ab") as out:
        agent = subprocess.Popen(
            command(job, main),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env={**os.environ, **settings(job)},
            start_new_session=True,
        )
    try:
        yield agent
    finally:
        assert agent.stdin is not None
        agent.stdin.close()  # which the ranks see, and end
        try:
            agent.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.wait()


def command(job: Job, main: bool) -> list[str]:
    """torchrun's command line. On one machine a file is where its processes meet: torchrun's server would listen on
    every address, and unpickle what whoever reaches it says. The file's folder is this user's alone."""
    parallel = job.parallel
    rendezvous, settings = parallel.rendezvous, f"is_host={int(main)}"
    if parallel.nodes == 1:
        rendezvous, settings = str(job.folder / "rendezvous"), "store_type=file"
    return [
        *(sys.executable, "-m", "torch.distributed.run"),
        f"--nnodes={parallel.nodes}",
        f"--nproc-per-node={parallel.processes}",
        "--max-restarts=0",  # what is run again is the stage, from its last checkpoint
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={rendezvous}",
        f"--rdzv-conf={settings}",
        f"--rdzv-id={job.folder.parent.name}",
        *("-m", "lm.launch.worker", str(job.folder)),
    ]


def settings(job: Job) -> dict[str, str]:
    """The environment of torchrun and of its processes."""
    checkout = str(Path(__file__).parents[2])
    found = {"PYTHONPATH": os.pathsep.join([checkout, os.environ.get("PYTHONPATH", "")])}
    if "OMP_NUM_THREADS" not in os.environ:
        found["OMP_NUM_THREADS"] = str(max(1, job.threads // job.parallel.processes))
    if job.parallel.nodes == 1:
        found["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        if (loopback := LOOPBACK.get(sys.platform)) is not None:
            found |= {name: os.environ.get(name, loopback) for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")}
    return found
