"""What may grow from night to night: looked at after each, and the slope of each over all."""

import gc
import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from scipy import stats

from benchmarks._prefect_database import free_megabytes, megabytes, rows
from benchmarks._processes import disk_bytes
from tasks.running.journal import noted_stages
from tasks.storage.files import read_json
from tasks.store import Store

ROLES = {
    "workers": "workers of the pool",
    "shipper": "shipper",
    "prefect": "Prefect's server",
    "mlflow": "MLflow's server",
    "mlflow_child": "MLflow's server, child",
    "other": "other processes",
}
COMMANDS = {
    "workers": "multiprocessing.spawn",
    "shipper": "tasks.tracking.shipper",
    "prefect": "prefect server start",
    "mlflow": "mlflow server",
    "mlflow_child": "mlflow.server.fastapi_app",
}
"""What a role's command line has in it; the rest (the trackers of multiprocessing) are others."""

OF_ROLES = {
    **{f"memory_{role}": f"{words}: resident, MB" for role, words in ROLES.items()},
    **{f"files_{role}": f"{words}: open files" for role, words in ROLES.items()},
}
MEASURES = {
    "seconds": "run time, s",
    "resident_mb": "resident after gc, MB",
    "children_mb": "its workers and servers, MB",
    "open_files": "open files",
    "threads": "threads",
    "children": "child processes",
    **OF_ROLES,
    "partial": "partial directories",
    "store_mb": "store, MB",
    "not_live_mb": "store less what is live, MB",
    "run_files": "files in run records",
    "run_kb": "run records, kB",
    "locks": "lock files",
    "temporary": "temporary files",
    "local_databases_kb": "databases of the mill, kB",
    "prefect_mb": "Prefect's database, MB",
    "prefect_used_mb": "Prefect's database less free pages, MB",
    "prefect_rows": "rows of Prefect's tables",
    "mlflow_mb": "MLflow's database, MB",
}
BY_DESIGN = {"prefect_mb", "prefect_used_mb", "prefect_rows", "mlflow_mb"}
"""Grow with every run: Prefect's until events of a week and runs of 30 days are removed, MLflow's as the record of all
runs, which nothing removes."""

OF_PROCESSES = {"resident_mb", "children_mb", "open_files", "threads", "children", *OF_ROLES}
"""Begin anew in each process of a leg, which starts workers and servers of its own."""


def of_process() -> dict[str, float]:
    """This process, after a collection of what nobody holds any more, and those below it, as a whole and by role."""
    gc.collect()
    me = psutil.Process()
    by_role = of_roles(me)
    sizes = [size for name, size in by_role.items() if name.startswith("memory_")]
    return {
        "resident_mb": me.memory_info().rss / 1e6,
        "children_mb": sum(sizes),
        "open_files": me.num_fds(),
        "threads": me.num_threads(),
        "children": len(me.children(recursive=True)),
        **by_role,
    }


def of_roles(root: psutil.Process) -> dict[str, float]:
    """Resident size and open files of all processes below one, by role."""
    found = dict.fromkeys(OF_ROLES, 0.0)
    for process in root.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            line, size, files = " ".join(process.cmdline()), process.memory_info().rss / 1e6, process.num_fds()
            role = next((role for role, words in COMMANDS.items() if words in line), "other")
            found[f"memory_{role}"] += size
            found[f"files_{role}"] += files
    return found


def of_home(home: Path, temporary: Path) -> dict[str, Any]:
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
        **of_prefect(home),
        "mlflow_mb": sum(path.stat().st_size for path in (home / "mlflow").glob("mlflow.db*")) / 1e6,
    }


def of_prefect(home: Path) -> dict[str, Any]:
    """The database of its server: nothing where there is none."""
    if not (home / "prefect" / "prefect.db").exists():
        return {}
    tables, size = rows(home), megabytes(home)
    return {
        "prefect_mb": size,
        "prefect_used_mb": size - free_megabytes(home),
        "prefect_rows": sum(tables.values()),
        "prefect_tables": tables,
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


def slope(nights: Sequence[dict[str, Any]], name: str, warm_up: float = 0.0) -> dict[str, float] | None:
    """How a measure grows a night: the median of the slopes of all pairs (Theil and Sen), with its 95 % interval.

    What begins anew in each process (`OF_PROCESSES`) is compared within each alone, behind its own first nights, and
    the pairs of all are taken together (Hirsch, Slack and Smith 1982, whose groups are seasons). `later` is the slope
    in the second half of each group's nights: far less than the whole where something levels off. Nights on which a
    model was pretrained do not count for the run time. None where no group has three nights.

    Args:
        warm_up: share of each group's nights, its first ones, that is left out; at least one is where it is above 0.
    """
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for night in nights:
        groups[night.get("process") if name in OF_PROCESSES else None].append(night)
    behind = [group[max(1, int(warm_up * len(group))) if warm_up else 0 :] for group in groups.values()]
    points = [
        [
            (night["night"], night[name])
            for night in group
            if name in night and not (name == "seconds" and night["pretrained"])
        ]
        for group in behind
    ]
    used = [group for group in points if len(group) >= 3]
    if not used:
        return None
    middle, low, high = joint_slope(used)
    later, _, _ = joint_slope([group[len(group) // 2 :] for group in used])
    values = [value for group in used for _, value in group]
    return {
        "slope": middle, "low": low, "high": high, "later": later, "median": float(np.median(values)), "n": len(values),
    }  # fmt: skip


def joint_slope(groups: Sequence[Sequence[tuple[float, float]]]) -> tuple[float, float, float]:
    """The median slope of all pairs (x, y) within the groups, and its 95 % interval by the variance of Kendall's S
    (Sen 1968, equation 2.6, as scipy.stats.theilslopes has it for one group)."""
    slopes = np.sort([(y2 - y1) / (x2 - x1) for group in groups for (x1, y1), (x2, y2) in combinations(group, 2)])
    variance = sum(kendall_variance(np.array([y for _, y in group])) for group in groups)
    half = stats.norm.ppf(0.975) * np.sqrt(variance)
    first, last = round((len(slopes) - half) / 2) - 1, round((len(slopes) + half) / 2)
    return float(np.median(slopes)), float(slopes[max(first, 0)]), float(slopes[min(last, len(slopes) - 1)])


def kendall_variance(values: np.ndarray) -> float:
    """Of Kendall's S, with ties."""

    def term(count: Any) -> Any:
        return count * (count - 1) * (2 * count + 5)

    _, ties = np.unique(values, return_counts=True)
    return float(term(len(values)) - term(ties).sum()) / 18


def grows(found: dict[str, float], nights: int, share: float = 0.02) -> bool:
    """Whether it is sure that a measure grows, and by more than a share of its median over so many nights."""
    return found["low"] > 0 and found["slope"] * nights > share * max(found["median"], 1e-9)
