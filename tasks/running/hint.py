"""An earlier result as a hint: it saves work, is no input and in no key, and changes no byte of what comes out."""

from pathlib import Path
from typing import Any

from tasks.running.work import Work
from tasks.storage.files import read_json
from tasks.storage.integrity import manifest_problem
from tasks.store import Artifact


def earlier_result(
    work: Work, stage: str, version: int, config: dict[str, Any], like: Artifact, least: int = 0
) -> Artifact | None:
    """An earlier artifact of a stage, version and config that is here and sound, or None.

    Of several it is the one whose input of the stage of `like` has the most parts that `like` has too (corpora in turn
    may have one config), of equals the last published. It is kept from garbage collection while `work` goes on. A
    damaged one is set aside.

    Args:
        config: as manifests of the stage have it.
        like: an input of `work` that has a part for each shard.
        least: how many parts it has to have in common with `like`.
    """
    parts = _digests_of_parts(like.path)
    candidates: list[tuple[int, int, Artifact]] = []
    for artifact in work.store.list(stage):
        try:
            manifest, published = artifact.manifest(), (artifact.path / "manifest.json").stat().st_mtime_ns
        except FileNotFoundError:
            continue  # collected since the listing
        if manifest_problem(manifest) is not None:
            work.store.verify(artifact)  # which sets it aside
        elif (manifest["version"], manifest["config"]) == (version, config):
            inputs = [made for group in manifest["inputs"].values() for made in group if made["stage"] == like.stage]
            earlier = (_digests_of_parts(work.store.artifacts / made["stage"] / made["key"]) for made in inputs)
            candidates.append((sum(len(parts & digests) for digests in earlier), published, artifact))
    for common, _, artifact in sorted(candidates, key=lambda candidate: candidate[:2], reverse=True):
        if common < least:
            return None
        # before the files are hashed, which may take as long as garbage collection needs
        work.store.need(work.directory, "hint", [(artifact.stage, artifact.key)])
        if work.store.verify(artifact):
            return artifact
    return None


def _digests_of_parts(directory: Path) -> set[str]:
    """Of the parts of an artifact; none if it is gone or damaged."""
    try:
        manifest = read_json(directory / "manifest.json")
    except (FileNotFoundError, ValueError, RecursionError):
        return set()
    return set() if manifest_problem(manifest) else {part["digest"] for part in manifest["parts"]}
