"""`textmill exams`: the exams that models of the store sat, a table for each question, all models below each other."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from flows.commands.compare_exams import asked_of
from flows.config.loading import ConfigError
from flows.given import given_model
from tasks.exam import exam, read_exam
from tasks.exams.config import EXAMS
from tasks.exams.leaked import Checks
from tasks.exams.main_figure import less_is_better, main_figure
from tasks.exams.taken import Who, exams_of, who_sat
from tasks.running.progress import Display
from tasks.running.run import Plan, Resources, Run, use_run
from tasks.store import Artifact, Store

HIDDEN = ("name", "kind", "paths", "labelled", "template")
"""Settings that a table's heading says already, or that are files."""


def exams_taken(
    store: Store, names: Sequence[str] = (), models: Sequence[str] = (), figure: str | None = None
) -> dict[str, Any]:
    """Every exam in the store, or those called `names`, or of `models` (artifacts, aliases, folders).

    Returns `exams`, one for each question that was put (another limit or another file is another question): name, kind,
    settings (those that are not the default), template, of (the files, or the labelled set), version (of the stage, if
    it is not today's), items, figure (its name: `figure`, or the one that stands for the kind), less_is_better,
    `models`, the best first (model, aliases, artifact, value, low, high, n, leaked: `tasks.exams.leaked`) and
    `without`, the models of which the exam has no such figure. `mlflow`: the same as a view of MLflow (`runs_filter`),
    where one exam is asked for.

    Raises:
        ConfigError: one of the exams was not sat, one of the models sat none of them, or none has the figure.
    """
    run = Run(store, Resources().resolved(), Display(quiet=True), plan=Plan())  # nothing is made here
    with use_run(run):
        wanted = {name: _who(given_model(name)) for name in models}
    taken = [(who_sat(each), read_exam(each)["name"], each) for each in exams_of(store)]
    chosen = [
        (who, name, each)
        for who, name, each in taken
        if (not names or name in names) and (not models or who in wanted.values())
    ]
    missing = [name for name in names if name not in {sat for _, sat, _ in chosen}]
    idle = [name for name, who in wanted.items() if who not in {by for by, _, _ in chosen}]
    if missing or idle or not chosen:
        asked_for = f" called {', '.join(missing or names)}" if names else ""
        whose = f" of {', '.join(idle or models)}" if models else ""
        there = ", ".join(sorted({name for _, name, _ in taken})) or "none"
        raise ConfigError(f"no exam{asked_for}{whose} was sat; there are: {there} (`textmill evaluate MODEL TASK`)")
    with use_run(run):
        found: dict[str, dict[Who, Artifact]] = {}
        for who, _, each in chosen:
            found.setdefault(asked_of(each), {})[who] = each  # of several answers to the same the newest
    aliases: dict[Who, list[str]] = {}
    for alias, at in store.aliases().items():
        if (model := store.find(at["stage"], at["key"])) is not None:
            aliases.setdefault(_who(model), []).append(alias)
    checks = Checks(store)
    tables = [_table(aliases, checks, of, figure) for of in found.values()]
    shown = [table for table in tables if table is not None]
    if not shown:
        known = sorted({name for of in found.values() for each in of.values() for name in read_exam(each)["figures"]})
        raise ConfigError(f"no exam here has a figure {figure!r}; there are {', '.join(known[:30])}")
    shown.sort(key=lambda table: (table["name"], -len(table["models"]), str(table["settings"])))
    one = {(table["name"], table["figure"]) for table in shown}
    return {"exams": shown, "mlflow": view(*one.pop(), shown[0]["kind"]) if len(one) == 1 else None}


def runs_filter(name: str) -> str:
    """What MLflow's `search_runs`, and the search field above its table of runs, find the runs of an exam by."""
    return f"tags.`textmill.stage` = 'exam' AND params.`exam.name` = '{name}' AND attributes.status = 'FINISHED'"


def view(name: str, figure: str, kind: str) -> str | None:
    """The address of MLflow's table of the runs of an exam, the best first; None where MLflow does not answer."""
    from flows.commands.start import mlflow_link  # load what a table alone does without
    from tasks.tracking.mlflow_events import allowed_name

    address = mlflow_link()
    if "/experiments/" not in address:
        return None
    order = f"metrics.`{allowed_name(f'{name}/{figure}')}`"
    ascending = str(less_is_better(kind, figure)).lower()
    return f"{address}&searchFilter={quote(runs_filter(name))}&orderByKey={quote(order)}&orderByAsc={ascending}"


def _table(
    aliases: dict[Who, list[str]], checks: Checks, of: dict[Who, Artifact], figure: str | None
) -> dict[str, Any] | None:
    described = {who: read_exam(each) for who, each in of.items()}
    first, manifest = next(iter(described.values())), next(iter(of.values())).manifest()
    config, template = manifest["config"]["exam"], manifest["config"]["template"]
    known = {name: value for each in described.values() for name, value in each["figures"].items()}
    name = figure or main_figure(first["exam"], known, template)
    rows = [
        {
            **_named(each, aliases),
            "artifact": each.name,
            **{part: described[who]["figures"][name][part] for part in ("value", "low", "high", "n")},
            "leaked": checks.of(each),
        }
        for who, each in of.items()
        if name in described[who]["figures"]
    ]
    if not rows:
        return None
    less = less_is_better(first["exam"], name)
    rows.sort(key=lambda row: (row["value"] if less else -row["value"], row["model"]))
    usual = {key: field.default for key, field in EXAMS[first["exam"]].model_fields.items()}
    settings = {key: value for key, value in config.items() if key not in HIDDEN and value != _plain(usual.get(key))}
    sets = [f"{each['stage']}/{each['key'][:8]}" for each in manifest["inputs"]["labelled"]]
    return {
        "name": first["name"],
        "kind": first["exam"],
        "settings": settings,
        "template": template["name"] if template else None,
        "of": [*sets, *(name for name, _ in manifest["config"]["files"] or ())],
        "version": manifest["version"] if manifest["version"] != exam.version else None,
        "items": first["items"],
        "figure": name,
        "less_is_better": less,
        "models": rows,
        "without": [_named(each, aliases) for who, each in of.items() if name not in described[who]["figures"]],
    }


def _plain(value: Any) -> Any:
    """As JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def _named(taken: Artifact, aliases: Mapping[Who, list[str]]) -> dict[str, Any]:
    """The model that sat an exam, and what else it is called."""
    [model] = taken.manifest()["inputs"]["model"]
    return {"model": f"{model['stage']}/{model['key'][:8]}", "aliases": sorted(aliases.get(who_sat(taken), []))}


def _who(model: Artifact) -> Who:
    return model.stage, model.digest
