"""Take the servers away in the middle of pretraining and see that nothing is lost.

    python -m benchmarks.server_outage

First MLflow is killed while a pipeline pretrains: the run must end normally, and once the server is back all metrics of
the journal must be on it. Then, in another pipeline, the Prefect server is killed: the training must not be lost, and
the next run goes on from its last checkpoint. Exits with 1 if either fails.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 300.0


def main() -> None:
    """Run both outages in a home of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/quickstart-small.yaml"))
    parser.add_argument("--tokens", type=int, default=400_000, help="pretraining budget: long enough to interrupt")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="textmill-outage-") as home:
        os.environ["TEXTMILL_HOME"] = home
        from flows.servers import services
        from tasks.machine import home as homes

        homes.configure_environment()
        try:
            fine = mlflow_outage(arguments.config, arguments.tokens, Path(home) / "store")
            fine &= prefect_outage(arguments.config, arguments.tokens, Path(home) / "store")
        finally:
            services.down()
    sys.exit(0 if fine else 1)


def mlflow_outage(config: Path, tokens: int, store: Path) -> bool:
    """Kill MLflow in the middle of pretraining; start it again after the run; compare journal and server."""
    from mlflow import MlflowClient

    from flows.servers import services
    from tasks.store import Store
    from tasks.tracking.shipper import ship_all

    run = start(config, tokens, seed=1)
    wait_until(lambda: steps(store) > 20, run)
    kill_server("mlflow")
    started = time.monotonic()
    summary = outcome(run)
    print(f"  run without MLflow: {summary['state']}, ended {time.monotonic() - started:.0f} s after the outage")
    services.ensure("mlflow")
    ship_all(Store(store), MlflowClient())  # what `textmill up` does, and the next run
    journaled, served = metric_points(summary)
    print(f"  metric points in the journal {len(journaled)}, of these on the server {len(journaled & served)}")
    return bool(summary["state"] == "Completed" and journaled and journaled <= served)


def prefect_outage(config: Path, tokens: int, store: Path) -> bool:
    """Kill the Prefect server in the middle of pretraining; then run again."""
    run = start(config, tokens, seed=2)
    wait_until(lambda: steps(store) > 40, run)
    kill_server("prefect")
    run.communicate()
    reached = steps(store) or finished_steps(store)
    print(f"  run without Prefect: exit status {run.returncode}, training had reached step {reached}")
    again = outcome(start(config, tokens, seed=2))
    trained = next(stage for stage in again["stages"] if stage["stage"] == "pretrain")
    how = "reused" if trained["cached"] else f"went on and took {trained['seconds']:.1f} s"
    print(f"  run again: {again['state']}; pretraining was {how}")
    return bool(again["state"] == "Completed" and reached > 40)


def start(config: Path, tokens: int, seed: int) -> "subprocess.Popen[bytes]":
    """A pipeline in a process of its own."""
    settings = [f"pretrain.train.tokens={tokens}", f"pretrain.train.seed={seed}", "finetune.seeds=[0]"]
    command = [sys.executable, "-m", "flows.cli.main", "run", str(config), "--json"]
    for setting in settings:
        command += ["--set", setting]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def outcome(run: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """What the pipeline's `--json` says, once it has ended."""
    output, _ = run.communicate()
    return dict(json.loads(output))


def wait_until(condition: Callable[[], bool], run: "subprocess.Popen[bytes]") -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if run.poll() is not None:
            raise RuntimeError(f"the run ended too early, with exit status {run.returncode}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"not reached within {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.1)


def steps(store: Path) -> int:
    """The last step that the pretraining under way has journaled; 0 if none is under way."""
    journals = list((store / "partial").glob("pretrain-*/_run/journal.jsonl"))
    return max((last_step(path) for path in journals), default=0)


def finished_steps(store: Path) -> int:
    """The last step of the newest finished pretraining."""
    journals = sorted((store / "artifacts" / "pretrain").glob("*/_run/journal.jsonl"), key=lambda p: p.stat().st_mtime)
    return last_step(journals[-1]) if journals else 0


def last_step(journal: Path) -> int:
    """The last training step in a journal."""
    from tasks.running.journal import history

    points = history(journal).get("train/loss", [])
    return int(points[-1][0]) if points else 0


def kill_server(name: str) -> None:
    """SIGKILL a server and its children, as an outage would."""
    import psutil

    from flows.servers import services

    pid = services.status()[name]["pid"]
    assert isinstance(pid, int)
    server = psutil.Process(pid)
    for process in [*server.children(recursive=True), server]:
        process.send_signal(signal.SIGKILL)


def metric_points(summary: dict[str, Any]) -> tuple[set[tuple[str, int]], set[tuple[str, int]]]:
    """The (metric, step) pairs of the pretraining: in its journal, and on the MLflow server."""
    from mlflow import MlflowClient

    from tasks.running.journal import history

    trained = next(stage for stage in summary["stages"] if stage["stage"] == "pretrain")
    series = history(Path(trained["path"]) / "_run" / "journal.jsonl")
    client = MlflowClient()
    experiment = client.get_experiment_by_name("textmill")
    assert experiment is not None
    run = client.search_runs([experiment.experiment_id], f"tags.`textmill.key` = '{trained['key']}'")[0]
    served = {(key, m.step) for key in series for m in client.get_metric_history(run.info.run_id, key)}
    return {(key, step) for key, points in series.items() for step, _ in points}, served


if __name__ == "__main__":
    main()
