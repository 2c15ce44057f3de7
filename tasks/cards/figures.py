"""What a model's card says of what it reaches, and of what it cost: figures with intervals, seconds, energy."""

from collections.abc import Iterable
from typing import Any

from tasks.cards.probes import KINDS
from tasks.exams.leaked import Checks, in_words
from tasks.finetune import over
from tasks.running.journal import JOURNAL, read_events
from tasks.running.sampler import JOURNAL_SECONDS
from tasks.stage import sidecar
from tasks.storage.files import read_json
from tasks.store import RUN_DIRECTORY, Artifact, Store

Figure = dict[str, Any]
"""`what`, `value`, `low` and `high` (None without an interval), `on` (which text or examples), `from` (artifact),
`compared` (of another system, or a difference to one) and `count` (how many of something: no measure of the model)."""

COUNTS = ("tokens", "bytes", "characters", "words", "equal", "examples_dropped", "prompts_cut", "too_short")
"""Figures of exams that are numbers of items or of what they are made of."""

ASKS = ("evaluate", "held_out", "exam", "finetune_summary", "compare")
SAMPLED = "system/cpu_utilization_percentage"


def reached(store: Store, model: Artifact) -> list[Figure]:
    """Every figure that the store has of a model: its own training's, and those of all that was asked of it since."""
    found, checks = _own(model), Checks(store)
    for stage in ASKS:
        for artifact in store.list(stage):
            inputs = artifact.manifest()["inputs"]
            used = [name for name, of in inputs.items() if _same(model, of)]
            if used:
                found += [{**row, "from": artifact.name} for row in _asked(artifact, used, checks)]
    return found


def _own(model: Artifact) -> list[Figure]:
    """What the training itself counted of validation and test, with the intervals among the counts."""
    counts = model.counts()
    found = []
    for name, value in counts.items():
        split, _, what = name.partition("_")
        if split not in ("valid", "test") or not isinstance(value, float) or name.endswith(("_low", "_high")):
            continue
        low, high = counts.get(f"{name}_low"), counts.get(f"{name}_high")
        on = "validation" if split == "valid" else "test"
        found.append(_figure(what, value, low, high, f"its own {on} split", model.name))
    return found


def _asked(artifact: Artifact, used: list[str], checks: Checks) -> list[Figure]:
    if artifact.stage == "evaluate":
        said = read_json(artifact.file("evaluation.json"))
        count = artifact.counts()["sequences"]
        rows = []
        for system, title in (("pretrained", ""), ("untrained", ", same model untrained"), ("unigram", ", unigram")):
            row = said[system]
            interval = row.get("bits_per_byte_low"), row.get("bits_per_byte_high")
            on = f"test documents, {count:,} sequences"
            rows.append(_figure(f"bits_per_byte{title}", row["bits_per_byte"], *interval, on))
        return rows
    if artifact.stage == "held_out":
        said, count = read_json(artifact.file("figures.json")), artifact.counts()["sequences"]
        on = f"test documents, {count:,} sequences"
        names = ("bits_per_byte", "perplexity_per_word")
        return [_figure(name, said[name], None, None, on) for name in names if name in said]
    if artifact.stage == "exam":
        said = read_json(artifact.file("exam.json"))
        on = f"exam {said['name']} ({said['exam']}), {said['items']:,} items"
        if leaked := checks.of(artifact):
            on += f", {in_words(leaked)}"
        return [
            _figure(name, each["value"], each.get("low"), each.get("high"), on) | {"count": name in COUNTS}
            for name, each in said["figures"].items()
            if said["exam"] not in KINDS or "/" not in name  # of each group they stand beside the samples
        ]
    if artifact.stage == "finetune_summary":
        said = read_json(artifact.file("summary.json"))
        on = f"task {said['task']}, {over(said['seeds'])}"
        return [
            _figure(name, of["mean"], of.get("low"), of.get("high"), f"{split} of {on}")
            for split, figures in said["splits"].items()
            for name, of in figures.items()
        ]
    said = read_json(artifact.file("comparison.json"))
    name = "second" if used == ["scratch"] else "first"
    mean = next(iter(said.values()))[name]
    rows = [_figure("accuracy", mean["mean"], mean["low"], mean["high"], f"test examples, {over(mean['seeds'])}")]
    for title, each in said.items() if name == "first" else ():
        gain = each["difference"]
        rows.append(_figure(f"accuracy, {title}", gain["value"], gain["low"], gain["high"], "test examples, paired"))
    return rows


def _figure(what: str, value: float, low: Any, high: Any, on: str, source: str = "") -> Figure:
    compared = ", " in what
    said = {"what": what, "value": value, "low": low, "high": high, "on": on, "from": source}
    return {**said, "compared": compared, "count": False}


def _same(model: Artifact, items: Iterable[dict[str, str]]) -> bool:
    return any((each["stage"], each["digest"]) == (model.stage, model.digest) for each in items)


def costs(lineage: Iterable[Artifact]) -> list[dict[str, Any]]:
    """Seconds and energy of every stage of a lineage, in its order: `stage`, `seconds`, `joules` (None: not known),
    `measured` ("counters", "stated watts" or "") and `resumed` (earlier attempts are counted in).

    Of a stage that goes on after a kill the sidecar has the last attempt; the samples of the journal, one in five
    seconds, have all.
    """
    found = []
    for artifact in lineage:
        try:
            said = sidecar(artifact)
        except FileNotFoundError:
            continue
        sampled = JOURNAL_SECONDS * _samples(artifact)
        seconds = max(float(said["seconds"]), sampled)
        joules, watts = said.get("energy_joules"), (said.get("resources") or {}).get("watts")
        measured = ""
        if joules is not None:  # of the last attempt: earlier ones drew as much a second, as far as anyone knows
            joules, measured = joules * seconds / max(said["seconds"], 1e-9), "counters"
        elif watts:
            joules, measured = watts * seconds, "stated watts"
        found.append(
            {
                "stage": artifact.stage,
                "artifact": artifact.name,
                "seconds": seconds,
                "joules": joules,
                "measured": measured,
                "watts": watts,
                "resumed": sampled > said["seconds"] + 2 * JOURNAL_SECONDS,
            }
        )
    return found


def _samples(artifact: Artifact) -> int:
    events = read_events(artifact.path / RUN_DIRECTORY / JOURNAL)
    return sum(event["event"] == "metric" and event["key"] == SAMPLED for _, event in events)
