"""`textmill rebuild`: make a model again from its sources, in a store of its own, and compare every stage.

No server and no tracking: nothing is registered a second time. The stages are called as the manifests say that they
were called, in the same order, each with the thread count that it had.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_quality.sources.base import SourceChanged
from data_quality.sources.fingerprint import Fingerprints
from flows.commands.source_files import changes, source_files
from flows.config.loading import ConfigError
from tasks.lineage.forgotten import noted
from tasks.lineage.recipe import Step, recipe
from tasks.machine import home
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.running.secret_blocks import open_store_with
from tasks.stage import library_versions
from tasks.storage.exports import stored
from tasks.storage.files import read_json, write_json
from tasks.store import Artifact, Store, StoreError

RESULT = "rebuild.json"
SHOWN = 10
ADOPTING = ("adopt_model", "adopt_labelled", "adopt_tokenizer")
TAKEN_IN = "what was taken in from outside was read again from its files: how those were made is not known here"


def rebuild(name: str, resources: Resources, *, go_on: bool, keep: bool, quiet: bool) -> dict[str, Any]:
    """Build an artifact and everything that it was made from anew, and say what came out.

    A rebuild that was interrupted is gone on with; one that came to its end begins from nothing.

    Args:
        name: an artifact or an alias.
        go_on: build on after a stage that came out different.
        keep: leave the store with what was built. Where something differs it is left in any case.

    Returns:
        `artifact`, `equal` (all stages came out the same), `stages` (each with `stage`, `key`, `digest`, `rebuilt` and
        `equal`), `first`: of the first that differs also `why` and `files`, and `store`, where what was built is.

    Raises:
        StoreError: no such artifact, or part of its lineage was collected or is of an earlier version.
        ConfigError: it is the folder of a copy, a stage refuses its input, or documents of the lineage are to be
            forgotten.
    """
    store = open_store_with(resources)
    artifact = _recorded(store, name)
    steps = recipe(store, artifact)
    _refuse_forgotten(store, steps)
    place = home.home() / "rebuild" / artifact.key[:12]
    if (place / RESULT).exists():
        shutil.rmtree(place)
    run = Run(Store(place / "store"), resources.resolved(), Display(quiet=quiet))
    stages: list[dict[str, Any]] = []
    with use_run(run):
        made: dict[str, Artifact] = {}
        for step in steps:
            compared = _again(store, run, step, made)
            stages.append(compared)
            if not compared["equal"] and (not go_on or compared["rebuilt"] is None):
                break
    differing = [each for each in stages if not each["equal"]]
    answer = {
        "artifact": f"{artifact.stage}/{artifact.key}",
        "digest": artifact.digest,
        "equal": not differing,
        "stages": stages,
        "not_built": len(steps) - len(stages),
        "first": differing[0] if differing else None,
        "store": str(place / "store"),
    }
    write_json(place / RESULT, answer)
    if not differing and not keep:
        shutil.rmtree(place)
        answer["store"] = None
    return answer


def _recorded(store: Store, name: str) -> Artifact:
    """The artifact: of what is none there is no record by which it could be built again."""
    try:
        return store.resolve(name)
    except StoreError as error:
        if not Path(name).is_dir():
            raise StoreError(
                f"{error}; a model is rebuilt where the store is that it was made in, not from a copy"
            ) from error
    here = stored(Path(name))
    if here is None or here[0].root.resolve() != store.root.resolve():
        raise ConfigError(
            f"{name} is a folder, which does not say how it was made: a model is rebuilt where the store is that "
            "it was made in (its card, README.md, has the command), one of another program not at all"
        )
    return here[1]


def _refuse_forgotten(store: Store, steps: list[Step]) -> None:
    """To build it as it was would read again what nobody is to read any more, also where the model learned nothing from
    it."""
    asked = {**noted(store, "derived"), **noted(store, "retired")}
    found = next((name for step in steps if (name := asked.get((step.artifact.stage, step.artifact.key)))), None)
    if found is not None:
        raise ConfigError(
            f"{steps[-1].artifact.name} was made from documents that are to be forgotten (request {found}, `textmill "
            "forget --list`): it is not built again; run its flow, which leaves them out"
        )


def _again(store: Store, run: Run, step: Step, made: dict[str, Artifact]) -> dict[str, Any]:
    """Call one stage again; `made` gets what came out under the key that it had before."""
    before, config = step.artifact, step.config()
    compared: dict[str, Any] = {"stage": before.stage, "key": before.key, "digest": before.digest, "rebuilt": None}
    changed = changes(source_files(config))
    if changed:
        return compared | {"equal": False, "why": [str(change) for change in changed], "files": []}
    threads = step.manifest.get("environment", {}).get("threads", run.resources.threads)
    run.resources = run.resources.model_copy(update={"threads": threads})
    try:
        now = step.stage(config, label=before.stage, **step.arguments(made))
    except SourceChanged:  # a range of a large file, which is compared as it is read
        return compared | {"equal": False, "why": _changed_ranges(config), "files": []}
    except (ValueError, RuntimeError) as error:  # what a stage says of its settings or of its input
        raise ConfigError(f"{before.name} cannot be built again: {error}") from error
    made[before.key] = now
    compared |= {"rebuilt": now.digest, "equal": now.digest == before.digest}
    if not compared["equal"]:
        store.fetch_parts(before)
        compared |= {"why": reasons(step, now), "files": _files(before, now)}
    return compared


def _changed_ranges(request: Any) -> list[str]:
    """Which large files are no longer what they were, by what of them was read as ranges."""
    uris = dict.fromkeys(file.uri for piece in request.pieces for file in piece.files if file.range is not None)
    with Fingerprints(None, trust=False) as fingerprints:
        return [f"one of the large files changed: {uri} has the SHA-256 {fingerprints.of(uri)[0]} now" for uri in uris]


def reasons(step: Step, now: Artifact) -> list[str]:
    """What is other than when a stage was first built, of all that is recorded; never empty."""
    before, after = step.manifest, now.manifest()
    found = []
    if before["version"] != after["version"]:
        found.append(f"the stage's code: version {before['version']} then, {after['version']} now")
    given = {name: [each["digest"] for each in of] for name, of in before["inputs"].items()}
    found += [
        f"its input {name} came out different"
        for name, of in after["inputs"].items()
        if [each["digest"] for each in of] != given.get(name)
    ]
    parts = _unequal_parts(step.artifact, now)
    then, here = before.get("environment", {}), after["environment"]
    versions: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
        ("library", before["libraries"], library_versions(step.stage.libraries)),
        ("library of its shards", _libraries(parts[0]), _libraries(parts[1])),
        ("package", then.get("packages", {}), here["packages"]),
    ]
    for what, one, other in versions:
        found += [f"{what} {text}" for text in _changes(one, other)]
    names = {"python": "Python", "machine": "kind of machine", "processor": "processor", "system": "system"}
    names["threads"] = "threads"
    found += [f"{names[text.partition(' ')[0]]}{text[text.index(' ') :]}" for text in _changes(_of(then, names), here)]
    return list(dict.fromkeys(found)) or [
        "nothing that is recorded is other than it was: the stage is not deterministic, or the machines differ in "
        "something that no manifest says"
    ]


def _libraries(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: version for manifest in manifests for name, version in manifest["libraries"].items()}


def _of(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [f"{name} {one} then, {now.get(name)} now" for name, one in then.items() if now.get(name) != one]


def _unequal_parts(before: Artifact, now: Artifact) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The manifests of the parts that came out different, then and now; none where their number is another."""
    pairs = list(zip(before.part_directories(), now.part_directories(), strict=False))
    read = [(read_json(one / "manifest.json"), read_json(other / "manifest.json")) for one, other in pairs]
    unequal = [(one, other) for one, other in read if one["digest"] != other["digest"]]
    return [one for one, _ in unequal], [other for _, other in unequal]


def _files(before: Artifact, now: Artifact) -> list[str]:
    """The files that have another content, those of parts under the part's number; at most SHOWN."""
    pairs = [("", before.path, now.path)]
    parts = zip(before.part_directories(), now.part_directories(), strict=False)
    pairs += [(f"part {number}: ", one, other) for number, (one, other) in enumerate(parts)]
    found = []
    for prefix, one, other in pairs:
        there, here = _hashes(one), _hashes(other)
        found += [f"{prefix}{name}" for name in sorted({*there, *here}) if there.get(name) != here.get(name)]
    return found[:SHOWN]


def _hashes(directory: Path) -> dict[str, str]:
    return {entry["path"]: entry["sha256"] for entry in read_json(directory / "manifest.json")["files"]}


def describe(answer: Mapping[str, Any]) -> str:
    """The answer in words."""
    lines = []
    for each in answer["stages"]:
        rebuilt = "not built" if each["rebuilt"] is None else each["rebuilt"][:12]
        mark = "equal" if each["equal"] else "DIFFERS"
        lines.append(f"  {mark:<8} {each['stage'] + '/' + each['key'][:12]:<34} {each['digest'][:12]} {rebuilt}")
    if answer["equal"]:
        lines.append(
            f"\n  all {len(answer['stages'])} stages came out the same: {answer['artifact']} is {answer['digest']}"
        )
        if any(each["stage"] in ADOPTING for each in answer["stages"]):
            lines.append(f"  {TAKEN_IN}")
        return "\n".join(lines)
    first = answer["first"]
    lines.append(f"\n  the first that differs is {first['stage']}/{first['key'][:12]}:")
    lines += [f"    {reason}" for reason in first["why"]]
    if first["files"]:
        lines.append(f"    in {', '.join(first['files'])}")
    if answer["not_built"]:
        lines.append(f"  {answer['not_built']} stages behind it were not built")
    lines.append(f"  what was built is in {answer['store']}")
    return "\n".join(lines)
