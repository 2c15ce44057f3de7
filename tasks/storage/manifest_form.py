"""The form of a manifest, checked before anything it says is used: a shared store is written by others.

Names of stages, keys and files become paths. One that leads out of the artifact (`../../x`, `/etc/cron.d/x`) would
let whoever may write to the store write anywhere on the machines that read it.
"""

from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, ValidationError

LONGEST = 1_024  # characters of a path


def _inside(path: str) -> str:
    if not 0 < len(path) <= LONGEST or any(c in path for c in "\\\0") or path != PurePosixPath(path).as_posix():
        raise ValueError(f"no name of a file: {path[:80]!r}")
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or path == ".":
        raise ValueError(f"a path out of the artifact: {path[:80]!r}")
    return path


Inside = Annotated[str, AfterValidator(_inside)]
"""A path below the artifact's directory."""
Name = Annotated[str, Field(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,199}\z")]
"""A stage, a key: one component of a path, not hidden."""
Count = Annotated[int, Field(strict=True, ge=0)]


class FileForm(BaseModel):
    """A file of an artifact."""

    path: Inside
    bytes: Count
    sha256: Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]


class MadeOfForm(BaseModel):
    """Another artifact, which belongs to it or was read for it."""

    stage: Name
    key: Name
    digest: str


class ShardForm(BaseModel):
    """One of its files that is a shard."""

    path: Inside
    digest: str
    counts: dict[str, Any] = {}


class ManifestForm(BaseModel):
    """What every manifest has; it may have more."""

    stage: Name
    key: Name
    digest: str
    files: list[FileForm]
    inputs: dict[str, list[MadeOfForm]]
    parts: list[MadeOfForm]
    shards: list[ShardForm]
    counts: dict[str, Any]


class RecordForm(BaseModel):
    """What a shared store says of an artifact."""

    attempt: Name
    manifest: ManifestForm
    run_files: list[FileForm]


class AliasForm(BaseModel):
    """What a name stands for."""

    stage: Name
    key: Name


def form_problem(form: type[BaseModel], values: Any) -> str | None:
    """What does not have the form it must have, and where; None if all has."""
    try:
        form.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return f"its {'.'.join(map(str, first['loc'])) or 'content'}: {first['msg'][:200]}"
    return None
