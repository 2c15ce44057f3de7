"""A reference to a finished artifact, and what its manifest says: cheap to pass around, never the data itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.storage.files import read_json


class StoreError(Exception):
    """Something in the store is not as it must be; the message says what and what to do."""


@dataclass(frozen=True)
class Shard:
    """One file of a sharded artifact and the digest of its content."""

    path: Path
    digest: str
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """A reference to a finished artifact: cheap to pass around, never the data itself."""

    stage: str
    key: str
    digest: str
    path: Path

    @property
    def name(self) -> str:
        """`stage/key` with the key shortened to 12 characters, as shown to people."""
        return f"{self.stage}/{self.key[:12]}"

    def manifest(self) -> dict[str, Any]:
        """The manifest: key, inputs, config, files, counts, versions."""
        return read_json(self.path / "manifest.json")

    def counts(self) -> dict[str, Any]:
        """Documents, bytes, tokens and whatever else the stage counted."""
        return dict(self.manifest()["counts"])

    def file(self, name: str) -> Path:
        """The path of one of the artifact's own files.

        Raises:
            StoreError: the artifact has no such file.
        """
        path = self.path / name
        if not path.exists():
            have = ", ".join(sorted(entry["path"] for entry in self.manifest()["files"])[:20])
            raise StoreError(f"{self.name} has no file {name!r}; it has: {have or 'none'}")
        return path

    def part_directories(self) -> list[Path]:
        """Where the parts (other artifacts) are, in order."""
        return [self.path.parents[1] / part["stage"] / part["key"] for part in self.manifest()["parts"]]

    def shards(self) -> list[Shard]:
        """All shards in order, those of the parts included."""
        found = [_shard(self.path, entry) for entry in self.manifest()["shards"]]
        for part in self.part_directories():
            found.extend(_shard(part, entry) for entry in read_json(part / "manifest.json")["shards"])
        return found


def _shard(directory: Path, entry: Mapping[str, Any]) -> Shard:
    return Shard(directory / entry["path"], entry["digest"], dict(entry.get("counts", {})))
