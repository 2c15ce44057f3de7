"""What artifacts are called by: the key, from all that shapes one, and the digest, from what came out."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from tasks.storage.files import canonical_json


def artifact_key(stage: str, version: int, config: Any, libraries: Mapping[str, str], inputs: Mapping[str, Any]) -> str:
    """The key of a build: 32 hex digits of the SHA-256 of everything that shapes its content, and nothing else."""
    return hashlib.sha256(canonical_json([stage, version, config, dict(libraries), dict(inputs)])).hexdigest()[:32]


def content_digest(files: Iterable[Mapping[str, Any]], parts: Iterable[Mapping[str, Any]]) -> str:
    """Digest of an artifact's own files (name and hash) and of its parts' digests, whatever the parts' order."""
    return hashlib.sha256(
        canonical_json([sorted((f["path"], f["sha256"]) for f in files), sorted(p["digest"] for p in parts)])
    ).hexdigest()
