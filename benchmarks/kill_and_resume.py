"""Kill a pipeline again and again, run it again each time, and compare it with one left alone.

    python -m benchmarks.kill_and_resume --kills 30 --seed 0

Two runs of one configuration, each with a store of its own: one undisturbed, one killed (SIGKILL and SIGTERM, drawn) at
moments spread over all stages, among them the inside of a checkpoint write and of a manifest write. Every digest must
be equal in the end (the report aside: it tells of seconds). After every kill it is also checked that no worker is left,
and in the end that nothing says it runs in Prefect or MLflow and nothing is left in the store. Exits with 1 if not.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.checks import problems
from tests.chaos.kills import forget

STAGES = (
    "ingest",
    "normalize",
    "signals",
    "signatures",
    "judge",
    "dedupe",
    "decide",
    "filter_corpus",
    "split",
    "train_tokenizer",
    "tokenize",
    "pretrain",
    "evaluate",
    "labelled",
    "finetune",
    "bag_of_words",
    "compare",
    "report",
)
LEFT_OUT = ("report",)  # its content tells of seconds and memory
SLOW_FSYNC = "KILL_AND_RESUME_SLOW_FSYNC"
HALF_WRITTEN = {"checkpoint": "/checkpoints/.tmp", "manifest": "/.manifest.json."}
"""Writes that are aimed at, and what the path of such a file holds. Other fsyncs keep their speed."""
PATIENCE_SECONDS = 300.0
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
TERM_SECONDS = 60.0
RUNNING = {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}


def main() -> None:
    """Run both pipelines and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/quickstart-small.yaml"))
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="as for `textmill run`")
    arguments = parser.parse_args()
    sys.exit(0 if compare(arguments.config, arguments.overrides, arguments.kills, arguments.seed) else 1)


def compare(config: Path, overrides: list[str], kills: int, seed: int) -> bool:
    """Whether the killed pipeline ends in the digests of the undisturbed one."""
    command = [sys.executable, "-m", "benchmarks._slow_fsync", "run", str(config), "--json"]
    for override in overrides:
        command += ["--set", override]
    with tempfile.TemporaryDirectory(prefix="textmill-kill-") as root:
        try:
            undisturbed = finish(command, Path(root) / "undisturbed")
            seconds = {stage["label"]: stage["seconds"] for stage in undisturbed["stages"]}
            killed = Path(root) / "killed"
            orphans = kill_repeatedly(command, killed, plan(kills, random.Random(seed)), seconds, random.Random(seed))
            resumed = finish(command, killed)
            wrong = still_running(killed) + problems(killed / "store")
        finally:
            for home in ("undisturbed", "killed"):
                subprocess.run(
                    [sys.executable, "-m", "flows.cli.main", "down"], env=environment(Path(root) / home), check=True
                )
    return report(undisturbed, resumed, orphans + wrong)


def plan(kills: int, draw: random.Random) -> list[str]:
    """Which stage (or write) each kill aims at: all in turn, in the pipeline's order."""
    aims = ["checkpoint", "manifest", *STAGES]
    chosen = [aims[i % len(aims)] for i in range(kills)]
    return sorted(chosen, key=lambda aim: (STAGES.index(stage_of(aim)), draw.random()))


def stage_of(aim: str) -> str:
    """The stage in which an aimed moment lies."""
    return {"checkpoint": "pretrain", "manifest": "ingest"}.get(aim, aim)


def kill_repeatedly(
    command: list[str], home: Path, aims: list[str], seconds: dict[str, float], draw: random.Random
) -> list[str]:
    """Start, kill at the aimed moment, start again. Returns the commands of processes that outlived their parent."""
    orphans: list[str] = []
    for number, aim in enumerate(aims, 1):
        forget(stage_of(aim), home / "store")
        process = subprocess.Popen(
            command,
            env=environment(home, HALF_WRITTEN.get(aim, "")),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(moment(aim, home / "store"), process)
            if aim not in HALF_WRITTEN:
                time.sleep(draw.random() * seconds.get(aim, 1.0))
            children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            sent = draw.choice(SIGNALS)
            process.send_signal(sent)
            process.wait(timeout=TERM_SECONDS)
        finally:
            process.kill()  # also where the moment never came, or a SIGTERM did not end it
            process.wait()
        orphans += [name for child in children if (name := outlives(child)) is not None]
        landed = "" if process.returncode else " (it had just ended)"
        print(f"  {signal.Signals(sent).name} {number:>3} of {len(aims)}: {aim}{landed}", flush=True)
    return orphans


def moment(aim: str, store: Path) -> Callable[[], bool]:
    """Whether the aimed moment is now: a stage under way, or a file half written."""
    partial = store / "partial"
    patterns = {"checkpoint": "pretrain-*/_scratch/checkpoints/.tmp*", "manifest": "*/.manifest.json.*.tmp"}
    pattern = patterns.get(aim, f"{aim}-*/_run/journal.jsonl")
    return lambda: next(partial.glob(pattern), None) is not None


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    """Poll fast until the condition holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if process.poll() is not None:
            raise RuntimeError(f"the run ended before the aimed moment, with exit status {process.returncode}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"not reached within {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.002)


def outlives(process: psutil.Process) -> str | None:
    """The command of a pool worker that is still there two seconds after its parent was killed; None if gone.

    The shipper ends by itself after its last attempt, and servers are meant to stay.
    """
    try:
        command = " ".join(process.cmdline())
        if "multiprocessing" not in command:
            return None
        process.wait(timeout=2.0)
    except psutil.NoSuchProcess:
        return None
    except psutil.TimeoutExpired:
        return command
    return None


def still_running(home: Path) -> list[str]:
    """What says that it runs, in Prefect and in MLflow, while nothing does."""
    ports = json.loads((home / "services" / "ports.json").read_text())
    prefect, mlflow = (f"http://127.0.0.1:{ports[name]}/api" for name in ("prefect", "mlflow"))
    found = [
        f"flow run {run['name']} still runs" for run in ask(f"{prefect}/flow_runs/filter", flow_runs={"state": RUNNING})
    ]
    found += [
        f"task run {run['name']} still runs" for run in ask(f"{prefect}/task_runs/filter", task_runs={"state": RUNNING})
    ]
    experiments = ask(f"{mlflow}/2.0/mlflow/experiments/search", max_results=10)["experiments"]
    ids = [experiment["experiment_id"] for experiment in experiments]
    runs = ask(f"{mlflow}/2.0/mlflow/runs/search", experiment_ids=ids, filter="attributes.status = 'RUNNING'")
    return found + [f"MLflow run {run['info']['run_name']} still runs" for run in runs.get("runs", [])]


def ask(url: str, **body: Any) -> Any:
    """What a server answers to a JSON request."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def finish(command: list[str], home: Path) -> dict[str, Any]:
    """Run to the end, undisturbed, and return what `--json` prints."""
    done = subprocess.run(command, env=environment(home), stdout=subprocess.PIPE, check=True)
    return dict(json.loads(done.stdout))


def environment(home: Path, slow_fsync: str = "") -> dict[str, str]:
    """The environment of a run with its own home; files with this in their path are slow to sync, so that they last
    half written."""
    return {**os.environ, "TEXTMILL_HOME": str(home), SLOW_FSYNC: slow_fsync}


def report(undisturbed: dict[str, Any], resumed: dict[str, Any], orphans: list[str]) -> bool:
    """Print every stage's digests and say whether all is well."""
    expected = {stage["label"]: stage for stage in undisturbed["stages"]}
    found = {stage["label"]: stage for stage in resumed["stages"]}
    same = expected.keys() == found.keys()
    for label, stage in expected.items():
        other = found.get(label, {"digest": None})
        verdict = "not compared" if stage["stage"] in LEFT_OUT else "equal"
        if stage["stage"] not in LEFT_OUT and other["digest"] != stage["digest"]:
            verdict, same = f"DIFFERS: {other['digest']}", False
        print(f"  {label:<28} {stage['digest'][:16]}  {verdict}")
    for command in orphans:
        print(f"  left: {command}")
    print("all digests equal, nothing left" if same and not orphans else "NOT EQUAL")
    return same and not orphans


if __name__ == "__main__":
    main()
