"""How long `textmill status` takes as a store grows: `python -m benchmarks.status_speed`.

A store of made-up artifacts (each a manifest and a sidecar as stages write them) and runs of twelve stages; the whole
command in a process of its own, first with nothing known of sizes, then as usual. Medians of five; processor time, too,
because other work on the machine counts in the wall clock.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COUNTS = (100, 1_000, 10_000)
STAGES, RUNS, TIMES = 12, 50, 5


def main() -> None:
    """Print a line for each size."""
    print(f"{'artifacts':>10} {'runs':>5} {'first, CPU s':>13} {'then, CPU s':>12} {'then, wall s':>13}")
    for count in COUNTS:
        with tempfile.TemporaryDirectory(prefix="textmill-status-") as folder:
            root = Path(folder)
            keys = write_store(root / "store", count)
            write_runs(root / "store", keys)
            first = asked(root)
            then = [asked(root) for _ in range(TIMES)]
            processor, wall = (statistics.median(each[at] for each in then) for at in (0, 1))
            print(f"{count:>10,} {RUNS:>5} {first[0]:>13.2f} {processor:>12.2f} {wall:>13.2f}")


def asked(root: Path) -> tuple[float, float]:
    """Processor and wall seconds of one `textmill status --json`."""
    unset = ("PREFECT_API_URL", "PREFECT_HOME", "MLFLOW_TRACKING_URI", "TEXTMILL_MANAGED")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "flows.cli.main", "status", "--json"],
        env=environment | {"TEXTMILL_HOME": str(root)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, seconds


def write_store(root: Path, count: int) -> list[tuple[str, str]]:
    """Artifacts of as many stages as a run has."""
    made = []
    for number in range(count):
        stage, key = f"stage{number % STAGES}", f"{number:032x}"
        folder = root / "artifacts" / stage / key
        (folder / "_run").mkdir(parents=True)
        manifest = {"stage": stage, "key": key, "digest": key, "parts": [], "counts": {"documents": number}}
        files = [{"path": f"{file}.parquet", "bytes": 1000, "sha256": "0" * 64} for file in range(4)]
        (folder / "manifest.json").write_text(json.dumps(manifest | {"files": files}))
        (folder / "_run" / "sidecar.json").write_text(json.dumps({"seconds": 1.0, "cpu_seconds": 1.5}))
        made.append((stage, key))
    return made


def write_runs(root: Path, made: list[tuple[str, str]]) -> None:
    """Runs that died (the dearest: their cost is worked out at each look), of the last artifacts."""
    for number in range(RUNS):
        folder = root / "runs" / f"20260101-{number:06d}-000000-{number:016x}"
        folder.mkdir(parents=True)
        record = {"flow": "mill", "config": {"name": "x"}, "state": "killed", "host": "here", "flow_runs": []}
        (folder / "run.json").write_text(
            json.dumps(record | {"started": 1.0 + number, "pid": 1, "process_created": 1.0})
        )
        lines = [{"stage": stage, "key": key, "state": "built"} for stage, key in made[-STAGES:]]
        (folder / "stages.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
