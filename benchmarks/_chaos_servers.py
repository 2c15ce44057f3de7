"""Faults of servers and of clusters, as many as asked for: S3, Prefect, PostgreSQL, Dask (benchmarks.chaos)."""

import json
import math
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
from benchmarks._chaos_machines import POOLED, Figures, Mill
from flows.servers.automations import TAKEN
from tests import s3 as moto
from tests.chaos.proxy import Proxy, outages
from tests.chaos.server_faults import DRIVER, ServedHome, answered, left_running, wait_until
from tests.tasks.tiny_corpus import write_documents

STAGES = (*POOLED, "dedupe", "split", "train_tokenizer", "pretrain", "finetune", "compare")

DEPLOYED = [sys.executable, "-m", "tests.chaos.worker_driver"]
CRASHED_WITHIN = {"RUNNING": 120.0, "PENDING": 360.0}
"""Seconds after the kill in which the server has to say so: three beats of 30 s, or five minutes for one that did not
begin; and half a minute or a minute for a busy machine."""
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


def deployment_worker(mill: Mill, root: Path, seed: int, count: int) -> dict[str, Any]:
    """A worker with its flow run of the whole pipeline: as it begins, or in a stage. Another worker goes on."""
    draw, wrong = random.Random(seed), []
    write_documents(root / "documents")
    (root / "home").mkdir()
    home = ServedHome(root / "home")
    begins = [("PENDING", 3.0), ("RUNNING", 3.0)]
    moments = []
    for number in range(count):
        what, longest = draw.choice(begins) if number % 4 == 3 else (draw.choice(STAGES), 2.0)
        moments.append((what, draw.uniform(0, longest)))
    asked = {"folder": str(root / "homes"), "documents": str(root / "documents"), "moments": moments}
    if machines.UNTIL[0] < math.inf:
        asked["seconds"] = machines.UNTIL[0] - time.monotonic()
    home.ensure("prefect")
    try:
        with (root / "output").open("w+") as output:
            driver = home.start(*DEPLOYED, json.dumps(asked), output=output)
            driver.wait()
            output.seek(0)
            said = output.read()
        if driver.returncode:
            raise RuntimeError(said[-3000:])
    finally:
        home.down()
    found = answered(said)
    for each in found["rounds"]:
        wrong += missed(each, found["alone"])
    if (unheard := found["unheard"]) != ["Crashed", "Crashed", "Running"]:
        wrong.append(f"flow runs of which nothing is heard: {unheard}")
    seen = [[each[key] for key in ("what", "before", "after", "seconds")] for each in found["rounds"]]
    return {"rounds": len(seen), "seen": seen, "wrong": wrong}


def missed(found: dict[str, Any], alone: dict[str, str]) -> list[str]:
    """What does not hold of a round."""
    over = found["before"] == "Completed"
    within = CRASHED_WITHIN["PENDING" if found["before"] in TAKEN else "RUNNING"]
    holds = {
        "crashed": over or found["after"] == "Crashed",
        "in time": over or found["seconds"] < within,
        "nothing runs by the status": found["status"] == [],
        "nothing left": found["left"] == [],
        "the next completes": found["again"] == "Completed",
        "equal digests": found["digests"] == alone,
        "nothing twice": found["built twice"] == [],
        "no open tasks": found["open tasks"] == [],
        "the store": found["problems"] == [],
    }
    shown = {key: value for key, value in found.items() if key != "digests"}
    return [f"{name}: {json.dumps(shown)[:600]}" for name, well in holds.items() if not well]


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
