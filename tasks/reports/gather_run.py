"""Gather what the report says about the run itself: time and memory of its stages, lineage, environment, commands."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psutil

from tasks.reports.data import Command, LineageNode, StageRow
from tasks.running.run import Run
from tasks.stage import SHOWN_COUNTS, sidecar
from tasks.storage.files import read_json
from tasks.store import Artifact


def started(run: Run) -> tuple[str, float | None]:
    """When the run began, to be read, and for how many seconds it has lasted; None if it was killed in between."""
    record = read_json(run.directory / "run.json") if run.directory is not None else {}
    began = record.get("started", time.time())
    whole = bool(record) and len(record["flow_runs"]) <= 1
    date = datetime.fromtimestamp(began, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return date, time.time() - began if whole else None


def with_origins(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """The artifacts with all that they were made from and that is on this machine, each after its inputs."""
    known = {artifact.key: artifact for artifact in artifacts}
    ordered: dict[str, Artifact] = {}

    def visit(artifact: Artifact) -> None:
        if artifact.key in ordered:
            return
        for items in artifact.manifest()["inputs"].values():
            for item in items:
                path = artifact.path.parent.parent / item["stage"] / item["key"]
                if item["key"] in known or (path / "manifest.json").exists():
                    visit(known.get(item["key"]) or Artifact(item["stage"], item["key"], item["digest"], path))
        ordered[artifact.key] = artifact

    for artifact in artifacts:
        visit(artifact)
    return list(ordered.values())


def stages(run: Run, artifacts: Sequence[Artifact]) -> list[StageRow]:
    """One row for each artifact; built by this run if its sidecar names it, an earlier attempt of it included."""
    records = {record.artifact.key: record for record in run.records}
    rows = []
    for artifact in artifacts:
        past, record = sidecar(artifact), records.get(artifact.key)
        built = past["run"] == run.token
        rows.append(
            StageRow(
                name=(record.label if record else artifact.stage).replace("_", " "),
                state="built" if built else "cached",
                seconds=past["seconds"] if built else record.seconds if record else 0.0,
                build_seconds=past["seconds"],
                peak_bytes=past["peak_process_bytes"],
                disk_bytes=_disk(artifact),
                key=artifact.key[:12],
            )
        )
    return rows


def _disk(artifact: Artifact) -> int:
    manifest = artifact.manifest()
    root = artifact.path.parent.parent
    parts = [read_json(root / part["stage"] / part["key"] / "manifest.json") for part in manifest["parts"]]
    return sum(file["bytes"] for each in (manifest, *parts) for file in each["files"])


def lineage(artifacts: Sequence[Artifact]) -> list[LineageNode]:
    """The artifacts in the order they were made, each with what it was made from."""
    return [
        LineageNode(
            key=artifact.key,
            stage=artifact.stage.replace("_", " "),
            digest=artifact.digest,
            note=_note(artifact.counts()),
            inputs=[item["key"] for items in artifact.manifest()["inputs"].values() for item in items],
        )
        for artifact in artifacts
    ]


def _note(counts: dict[str, Any]) -> str:
    said = [(name.replace("_", " "), counts[name]) for name in SHOWN_COUNTS if counts.get(name)]
    return "; ".join(f"{name} {v:.3f}" if isinstance(v, float) else f"{v:,} {name}" for name, v in said[:2])


def environment(run: Run, artifacts: Sequence[Artifact]) -> dict[str, str]:
    """The machine and the versions of the newest artifact."""
    known = artifacts[-1].manifest()["environment"]
    memory = psutil.virtual_memory().total / 2**30
    packages = ", ".join(f"{name} {version}" for name, version in known["packages"].items())
    return {
        "run": run.token or "outside of a pipeline run",
        "machine": f"{psutil.cpu_count()} cores, {memory:.0f} GiB, {known['system']} {known['machine']}",
        "resources": f"{run.resources.workers} workers, {run.resources.threads} threads, "
        f"DuckDB memory limit {run.resources.memory_limit}",
        "python": known["python"],
        "packages": packages,
        "store": str(run.store.root),
    }


def commands(kept: Artifact, model: Artifact | None, dropped: str | None) -> list[Command]:
    """Where to look further."""
    found = [Command(command=f"textmill show {kept.name}", says="counts and lineage of the kept corpus")]
    if dropped is not None:
        found.append(Command(command=f"textmill why '{dropped}'", says="why a document was dropped, rule by rule"))
    if model is not None:
        found += [
            Command(command=f"textmill show {model.name}", says="counts and lineage of the pretrained model"),
            Command(command=f"textmill generate {model.name} --prompt 'Return the'", says="let the model write"),
        ]
    return [*found, Command(command="textmill ls", says="every artifact of the store")]
