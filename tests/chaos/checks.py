"""What must hold after any fault, once the run has been run again: looked for on disk, by other code than wrote it."""

import hashlib
import json
from pathlib import Path

from tasks.lineage.gc import collect, find_garbage
from tasks.running.journal import read_events
from tasks.running.run_records import dead_runs, mark_dead, run_records
from tasks.store import Store


def problems(root: Path) -> list[str]:
    """What is wrong in a store whose last run has ended well, after dead runs were put right and garbage collected."""
    store = Store(root)
    for record in dead_runs(run_records(store)):
        mark_dead(store, record["token"])
    collect(store, find_garbage(store, keep_runs=1, grace_seconds=0.0), keep_runs=1, grace_seconds=0.0)
    found = [f"left in partial: {path.name}" for path in store.partial.iterdir()]
    found += [f"left behind: {path}" for path in root.rglob("*") if path.name.endswith(".tmp") or ".tmp-" in path.name]
    for path in store.runs.glob("*/run.json"):
        if json.loads(path.read_text())["state"] == "running":
            found.append(f"still running: {path.parent.name}")
    for journal in [*store.runs.glob("*/journal.jsonl"), *store.artifacts.glob("*/*/_run/journal.jsonl")]:
        last = [e["event"] for _, e in read_events(journal) if e["event"] in ("start", "end")][-1:]
        if last != ["end"]:
            found.append(f"MLflow would show it running for ever: {journal}")
    return found + [problem for path in store.artifacts.glob("*/*") for problem in damaged(path)]


def damaged(artifact: Path) -> list[str]:
    """Files of an artifact that are not what its manifest says."""
    manifest = json.loads((artifact / "manifest.json").read_text())
    return [
        f"{artifact / entry['path']} is not what its manifest says"
        for entry in manifest["files"]
        if hashlib.sha256((artifact / entry["path"]).read_bytes()).hexdigest() != entry["sha256"]
    ]
