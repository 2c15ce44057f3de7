"""Faults of servers and of clusters, as many as asked for: S3, Prefect, PostgreSQL, Dask (benchmarks.chaos)."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks import _chaos_machines as machines
from benchmarks._chaos_machines import Figures, Mill
from tests import s3 as moto
from tests.chaos.proxy import Proxy, outages
from tests.chaos.server_faults import DRIVER, ServedHome, answered, left_running, wait_until

CLUSTER = [sys.executable, "-m", "tests.tasks.cluster_driver"]


def s3(mill: Mill, root: Path, seed: int, count: int) -> dict[str, Any]:
    """moto over HTTP behind a proxy of which a tenth of the connections suffer, and that goes away again and again."""
    figures, draw = Figures(mill, root), random.Random(seed)
    suffered = 0
    with moto.served() as port:
        for number in figures.rounds(count):
            proxy = Proxy(port, draw.randrange(2**31), 0.1)
            bucket = f"chaos-{uuid.uuid4().hex}"
            well, ill = moto.environment(port), moto.environment(proxy.port)
            moto.make_bucket(bucket, port)
            home = root / f"home-{number}"
            with outages(proxy, draw):
                answer = mill(home, scope="chain", store=f"s3://{bucket}/t", faults={"environment": ill})
            figures.note(answer, "chain", ("ObjectError: cannot", "StoreError: "))
            proxy.close()
            suffered += proxy.suffered
            figures.last(home, "chain", store=f"s3://{bucket}/t", faults={"environment": well})
            figures.last(root / f"other-{number}", "chain", store=f"s3://{bucket}/t", faults={"environment": well})
    return figures.all(connections_that_suffered=suffered)


def prefect(mill: Mill, root: Path, seed: int, count: int) -> dict[str, Any]:
    """The server killed while a stage runs; back while it still runs, or only after the flow has ended."""
    home = ServedHome(root / "home")
    (root / "home").mkdir()
    home.ensure("prefect")
    try:
        return killed_servers(home, seed, count, lambda: home.kill("prefect"), lambda: home.ensure("prefect"))
    finally:
        home.down()


def killed_servers(
    home: ServedHome, seed: int, count: int, take: Callable[[], None], give: Callable[[], None]
) -> dict[str, Any]:
    """A flow of two stages each time; the same flow after it must end well and build nothing twice."""
    draw, wrong = random.Random(seed), []
    ended: dict[str, int] = {}
    for number in range(count):
        if time.monotonic() > machines.UNTIL[0]:
            break
        store = {"STORE": str(home.folder / f"store-{number}"), "STAGE_CALLS": str(home.folder / "calls")}
        home.environment |= store
        (home.folder / "calls").unlink(missing_ok=True)
        flow = home.start(*DRIVER, "run", SLOW_SECONDS=str(draw.choice([2, 40])))
        wait_until(lambda: "slow" in home.calls(), flow)
        time.sleep(draw.uniform(0.0, 1.0))
        take()
        if number % 2:
            give()  # in time, if the stage is a long one
        flow.communicate(timeout=300)
        give()
        how = "completed" if flow.returncode == 0 else "failed"
        ended[how] = ended.get(how, 0) + 1
        wrong += left_running(home.reconciled())
        home.finish(*DRIVER, "run")
        states = home.reconciled()
        wrong += left_running(states)
        last = states["states"][-1]
        if last["flow"] != "Completed" or last["tasks"]["numbers"] != "Cached":
            wrong.append(json.dumps(last))
        if home.calls().count("slow") > 1:
            wrong.append("a stage that had ended was built again")
    return {"ended": ended, "wrong": wrong}


def postgres(mill: Mill, root: Path, seed: int, count: int) -> dict[str, Any]:
    """PostgreSQL from the system's packages behind Prefect's server, which stays; `immediate` is a crash."""
    if (binaries := postgres_binaries()) is None:
        return {"wrong": [], "skipped": "postgres is not installed"}
    port, data = moto.free_port(), Path("/tmp") / f"textmill-chaos-pg-{uuid.uuid4().hex[:8]}"
    data.mkdir()
    user = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root
    if user:
        shutil.chown(data, user)

    def run(*command: str) -> None:
        subprocess.run(
            [str(binaries / command[0]), *command[1:]], user=user, cwd="/tmp", check=True, capture_output=True
        )

    run("initdb", "-D", str(data), "-U", "textmill", "--auth=trust", "--no-sync")
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {data}"

    def start() -> None:
        run("pg_ctl", "-D", str(data), "-o", options, "-l", str(data / "log"), "-w", "start")

    home = ServedHome(
        root / "home",
        PREFECT_API_DATABASE_CONNECTION_URL=f"postgresql+asyncpg://textmill@127.0.0.1:{port}/postgres",
    )
    (root / "home").mkdir()
    start()
    try:
        home.ensure("prefect")

        def restart() -> None:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
            start()

        return killed_servers(home, seed, count, restart, lambda: None)
    finally:
        home.down()
        with suppress(subprocess.CalledProcessError):
            run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(data)


def postgres_binaries() -> Path | None:
    """Where initdb and pg_ctl are: beside the postgres of the path, links followed."""
    found = shutil.which("postgres")
    folder = Path(found).resolve().parent if found else None
    return folder if folder and (folder / "initdb").exists() else None


def dask(mill: Mill, root: Path, seed: int, count: int) -> dict[str, Any]:
    """A worker of a local cluster, killed at some moment of the per-shard work."""
    draw, wrong = random.Random(seed), []
    home = ServedHome(root / "home")
    (root / "home").mkdir()
    home.ensure("prefect")
    landed = 0
    try:
        expected = answered(home.finish(*CLUSTER, "threads", HOME_OF_STORES=str(root / "t"), COUNT="12"))
        for number in range(count):
            if time.monotonic() > machines.UNTIL[0]:
                break
            variables = {"HOME_OF_STORES": str(root / f"d{number}"), "COUNT": "12", "SQUARE_SECONDS": "0.3"}
            (home.folder / "calls").unlink(missing_ok=True)
            flow = home.start(*CLUSTER, "dask", **variables)
            wait_until(lambda: "square_shard" in home.calls(), flow)
            time.sleep(draw.uniform(0.0, 1.5))
            children = psutil.Process(flow.pid).children(recursive=True)
            workers = [child for child in children if "spawn" in " ".join(child.cmdline())]
            if workers:
                draw.choice(workers).kill()
                landed += 1
            output, _ = flow.communicate(timeout=300)
            if flow.returncode:
                wrong.append(output[-500:])
                continue
            found = answered(output)
            if found["runners"]["dask"]["digests"] != expected["runners"]["threads"]["digests"]:
                wrong.append("other digests")
            wrong += [f"left: {child.pid}" for child in psutil.wait_procs(children, timeout=30)[1]]
    finally:
        home.down()
    return {"landed": landed, "wrong": wrong}
