"""An earlier result as a hint: it saves work, is no input and in no key, and changes no byte of what comes out."""

from pathlib import Path
from typing import Any

from tasks.running.work import Work
from tasks.storage.integrity import manifest_problem
from tasks.store import Artifact


def earlier_result(work: Work, stage: str, version: int, config: dict[str, Any]) -> Path | None:
    """The directory of the last published artifact of a stage, version and config that is sound, or None.

    It is kept from garbage collection while `work` goes on. A damaged one is set aside.

    Args:
        config: as manifests of the stage have it.
    """
    for artifact in sorted(work.store.list(stage), key=_published, reverse=True):
        try:
            manifest = artifact.manifest()
        except FileNotFoundError:
            continue  # collected since the listing
        if manifest_problem(manifest) is None and (manifest["version"], manifest["config"]) != (version, config):
            continue
        # before the files are hashed, which may take as long as garbage collection needs
        work.store.need(work.directory, "hint", [(artifact.stage, artifact.key)])
        if work.store.verify(artifact):
            return artifact.path
    return None


def _published(artifact: Artifact) -> int:
    try:
        return (artifact.path / "manifest.json").stat().st_mtime_ns
    except FileNotFoundError:
        return 0  # collected since the listing
