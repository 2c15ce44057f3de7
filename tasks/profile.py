"""The profile of a corpus, and the gates that compare it with the last accepted one."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_quality.config import GatesConfig
from data_quality.errors import UsageError
from tasks.running.parts import Part, build_parts, made_of, tables_beside
from tasks.running.run import current_run
from tasks.stage import NoConfig, Work, stage
from tasks.storage.files import file_sha256, read_json, write_json
from tasks.store import SCRATCH_DIRECTORY, Artifact

PROFILE = "profile.json"


class GateClosed(UsageError):
    """A corpus moved further than its gates allow; nothing downstream was started."""


@stage(version=4)
def profile(work: Work, config: NoConfig, *, signals: Artifact, decisions: Artifact) -> None:
    """Count what was kept of every source and language, and what went for which reason: shard by shard, and in all."""
    from data_quality.profile import add_profiles

    beside = tables_beside(made_of(decisions), signals)
    parts = [
        Part({"decisions": shard.digest, "signals": digest}, (paths, str(shard.path)))
        for shard, (digest, paths) in zip(decisions.shards(), beside, strict=True)
    ]
    made = build_parts(work, "profile.shard", 1, profile_part, parts, light=True)
    figures = add_profiles(read_json(part.path / PROFILE) for part in made)
    (work.directory / PROFILE).write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    work.digest = file_sha256(work.directory / PROFILE)  # of the figures, however the corpus is cut
    for name in ("sources", "languages"):
        rows = [{name.removesuffix("s"): key, **value} for key, value in figures[name].items()]
        work.table(name, rows, f"Documents and bytes of all {name}, and what was kept of them")


def profile_part(directory: Path, signals: Sequence[str], decisions: str) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.profile import profile_corpus

    figures = profile_corpus(
        [Path(path) for path in signals], [Path(decisions)], directory / SCRATCH_DIRECTORY / "spill"
    )
    write_json(directory / PROFILE, figures)
    return {"counts": {name: figures["whole"][name] for name in ("documents", "kept")}, "shards": []}


def require_near(
    before: Mapping[str, Any], now: Mapping[str, Any], gates: GatesConfig, what_happens: str, accepting: str
) -> None:
    """Compare two profiles.

    Args:
        what_happens: the beginning of the error, before what moved.
        accepting: its end, behind how to accept it all the same.

    Raises:
        GateClosed: saying all that moved further than the gates allow.
    """
    from data_quality.profile import moved

    reasons = moved(before, now, gates)
    if reasons:
        listed = "\n  ".join(reasons)
        raise GateClosed(f"{what_happens}:\n  {listed}\nIf this is meant, run once with gates.enabled=false{accepting}")


def pass_gates(name: str, gates: GatesConfig, made: Artifact) -> None:
    """Compare a profile with the last accepted one of this name, and accept it if it passes.

    The accepted profile has the alias `accepted-<name>`, so that garbage collection keeps it.

    Raises:
        GateClosed: saying all that moved too far, and how to accept it all the same.
    """
    run = current_run()
    alias = f"accepted-{name}"
    accepted = run.store.aliased(alias)
    if run.plan is not None or (accepted is not None and accepted.digest == made.digest):
        return
    if accepted is not None and gates.enabled:
        require_near(
            read_json(accepted.file(PROFILE)),
            read_json(made.file(PROFILE)),
            gates,
            f"the corpus {name!r} has moved since {accepted.name}; nothing was built on it",
            ": the corpus as it is now is then the accepted one",
        )
    run.store.set_alias(alias, made)
