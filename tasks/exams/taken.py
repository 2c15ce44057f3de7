"""The exams of a store, and who sat them: a model is known by its content, of which there may be two artifacts."""

from tasks.store import Artifact, Store

Who = tuple[str, str]
"""Stage and digest of a model."""


def exams_of(store: Store) -> list[Artifact]:
    """Every exam of a store, the oldest first."""
    return sorted(store.list("exam"), key=lambda each: (each.path / "manifest.json").stat().st_mtime_ns)


def who_sat(taken: Artifact) -> Who:
    """The model that sat an exam."""
    [model] = taken.manifest()["inputs"]["model"]
    return model["stage"], model["digest"]
