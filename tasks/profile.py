"""The profile of a corpus, and the gates that compare it with the last accepted one."""

import json

from data_quality.config import GatesConfig
from tasks.files import read_json
from tasks.run import current_run
from tasks.stage import NoConfig, Work, stage
from tasks.store import Artifact

PROFILE = "profile.json"


class GateClosed(RuntimeError):
    """A corpus moved further than its gates allow; nothing downstream was started."""


@stage(version=3)
def profile(work: Work, config: NoConfig, *, signals: Artifact, decisions: Artifact) -> None:
    """Count what was kept of every source and language, and what went for which reason."""
    from data_quality.profile import profile_corpus

    figures = profile_corpus(
        [shard.path for shard in signals.shards()],
        [shard.path for shard in decisions.shards()],
        work.scratch / "spill",
        memory_limit=work.resources.memory_limit,
        threads=work.resources.threads,
    )
    (work.directory / PROFILE).write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    work.counts |= {"documents": figures["whole"]["documents"], "kept": figures["whole"]["kept"]}
    for name in ("sources", "languages"):
        rows = [{name.removesuffix("s"): key, **value} for key, value in figures[name].items()]
        work.table(name, rows, f"Documents and bytes of all {name}, and what was kept of them")


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
        from data_quality.profile import moved

        reasons = moved(read_json(accepted.file(PROFILE)), read_json(made.file(PROFILE)), gates)
        if reasons:
            listed = "\n  ".join(reasons)
            raise GateClosed(
                f"the corpus {name!r} has moved since {accepted.name}; nothing was built on it:\n  {listed}\n"
                "If this is meant, run once with gates.enabled=false: the corpus as it is now is then the accepted one"
            )
    run.store.set_alias(alias, made)
