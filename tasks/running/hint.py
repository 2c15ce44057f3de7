"""An earlier result as a hint: it saves work, is no input and in no key, and changes no byte of what comes out."""

from pathlib import Path
from typing import Any

from tasks.running.work import Work
from tasks.store import Artifact


def earlier_result(work: Work, stage: str, version: int, config: dict[str, Any]) -> Path | None:
    """The directory of the last published artifact of a stage, version and config that is sound, or None.

    It is kept from garbage collection while `work` goes on.

    Args:
        config: as manifests of the stage have it.
    """
    found = sorted(work.store.list(stage), key=_published, reverse=True)
    for artifact in found:
        manifest = artifact.manifest()
        if (manifest["version"], manifest["config"]) == (version, config) and work.store.verify(artifact):
            work.store.need(work.directory, "hint", [(artifact.stage, artifact.key)])
            return artifact.path
    return None


def _published(artifact: Artifact) -> int:
    return (artifact.path / "manifest.json").stat().st_mtime_ns
