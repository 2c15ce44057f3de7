"""What may grow from night to night: looked at after each, and the slope of each over all."""

import gc
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from scipy import stats

from benchmarks._processes import disk_bytes
from tasks.running.journal import noted_stages
from tasks.storage.files import read_json
from tasks.store import Store

MEASURES = {
    "seconds": "run time, s",
    "resident_mb": "resident after gc, MB",
    "children_mb": "its workers, MB",
    "open_files": "open files",
    "threads": "threads",
    "children": "child processes",
    "partial": "partial directories",
    "store_mb": "store, MB",
    "not_live_mb": "store less what is live, MB",
    "run_files": "files in run records",
    "run_kb": "run records, kB",
    "locks": "lock files",
    "temporary": "temporary files",
    "local_databases_kb": "databases of the mill, kB",
    "prefect_mb": "Prefect's database, MB",
    "mlflow_mb": "MLflow's database, MB",
}
BY_DESIGN = {"prefect_mb", "mlflow_mb"}
"""Grow with every run: Prefect's until what is 30 days old is removed, MLflow's as the record of all runs."""

OF_THE_PROCESS = {"resident_mb", "children_mb", "open_files", "threads", "children"}


def of_process() -> dict[str, float]:
    """This process, after a collection of what nobody holds any more."""
    gc.collect()
    me = psutil.Process()
    children = me.children(recursive=True)
    sizes = []
    for child in children:
        with suppress(psutil.NoSuchProcess):
            sizes.append(child.memory_info().rss)
    return {
        "resident_mb": me.memory_info().rss / 1e6,
        "children_mb": sum(sizes) / 1e6,
        "open_files": me.num_fds(),
        "threads": me.num_threads(),
        "children": len(children),
    }


def of_home(home: Path, temporary: Path) -> dict[str, float]:
    """The files of an installation."""
    store = Store(home / "store")
    runs = [path for path in store.runs.rglob("*") if path.is_file()]
    size = disk_bytes(store.root)
    databases = [path for kind in ("*.sqlite*", "*.duckdb*", "*.db") for path in home.glob(kind)]
    return {
        "partial": len(list(store.partial.iterdir())),
        "store_mb": size / 1e6,
        "not_live_mb": (size - live_bytes(store)) / 1e6,
        "run_files": len(runs),
        "run_kb": sum(path.stat().st_size for path in runs) / 1e3,
        "locks": len(list(store.locks.iterdir())),
        "temporary": sum(len(names) for _, _, names in os.walk(temporary)),
        "local_databases_kb": sum(path.stat().st_size for path in databases) / 1e3,
        "prefect_mb": sum(path.stat().st_size for path in (home / "prefect").glob("prefect.db*")) / 1e6,
        "mlflow_mb": sum(path.stat().st_size for path in (home / "mlflow").glob("mlflow.db*")) / 1e6,
    }


def live_bytes(store: Store) -> int:
    """What the last run and the aliases reach: a walk of its own through the manifests, beside that of `gc`."""
    newest = max(store.runs.iterdir(), key=lambda path: path.stat().st_mtime)
    aliases = [read_json(path) for path in store.alias_directory.glob("*.json")]
    waiting = [*noted_stages(newest), *((a["stage"], a["key"]) for a in aliases)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        stage, key = waiting.pop()
        path = store.artifacts / stage / key
        if (stage, key) in seen or not path.exists():
            continue
        seen.add((stage, key))
        manifest = read_json(path / "manifest.json")
        listed = [*manifest["parts"], *(i for given in manifest["inputs"].values() for i in given)]
        waiting += [(each["stage"], each["key"]) for each in listed]
    return sum(disk_bytes(store.artifacts / stage / key) for stage, key in seen)


def slope(nights: Sequence[dict[str, Any]], name: str) -> dict[str, float] | None:
    """How a measure grows a night: the median of the slopes of all pairs (Theil and Sen), with its 95 % interval.

    Nights on which a model was pretrained do not count for the run time. None for fewer than three nights.
    """
    used = [n for n in nights if name in n and not (name == "seconds" and n["pretrained"])]
    if len(used) < 3:
        return None
    values = np.array([n[name] for n in used], dtype=float)
    found = stats.theilslopes(values, np.array([n["night"] for n in used], dtype=float), 0.95)
    return {"slope": found[0], "low": found[2], "high": found[3], "median": float(np.median(values)), "n": len(used)}


def grows(found: dict[str, float], nights: int, share: float = 0.02) -> bool:
    """Whether it is sure that a measure grows, and by more than a share of its median over so many nights."""
    return found["low"] > 0 and found["slope"] * nights > share * max(found["median"], 1e-9)
