"""What runs now and what ran last."""

from typing import Any

from flows import services
from tasks import home
from tasks.files import read_json
from tasks.journal import read_events
from tasks.run import dead_runs
from tasks.store import Store

SHOWN_RUNS = 10


def status() -> dict[str, Any]:
    """Servers, the newest pipeline runs, and the size of the store. A run whose process is gone shows as `dead`."""
    store = Store(home.store_path())
    dead = {record["token"] for record in dead_runs(store)}
    runs = []
    for directory in sorted((p for p in store.runs.iterdir() if (p / "run.json").exists()), reverse=True)[:SHOWN_RUNS]:
        record = read_json(directory / "run.json")
        keys = {event["key"] for _, event in read_events(directory / "stages.jsonl")}
        state = "dead" if directory.name in dead else record["state"]
        runs.append({"token": directory.name, "flow": record["flow"], "state": state, "stages": len(keys)})
    artifacts = store.list()
    size = sum(entry["bytes"] for artifact in artifacts for entry in artifact.manifest()["files"])
    return {
        "home": str(home.home()),
        "services": services.status(),
        "runs": runs,
        "store": {"path": str(store.root), "artifacts": len(artifacts), "bytes": size},
    }
