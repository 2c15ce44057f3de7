"""`textmill exams`: the exams that models of the store sat, a table for each question, all models below each other."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from flows.commands.compare_exams import asked_of
from flows.config.loading import ConfigError
from flows.given import given_model
from tasks.exam import read_exam
from tasks.exams.config import EXAMS
from tasks.exams.leaked import Checks
from tasks.exams.main_figure import LESS_IS_BETTER, main_figure
from tasks.running.progress import Display
from tasks.running.run import Plan, Resources, Run, use_run
from tasks.store import Artifact, Store

Who = tuple[str, str]
"""Stage and key of a model."""
HIDDEN = ("name", "kind", "paths", "labelled", "template")
"""Settings that a table's heading says already, or that are files."""


def exams_taken(
    store: Store, names: Sequence[str] = (), models: Sequence[str] = (), figure: str | None = None
) -> dict[str, Any]:
    """Every exam in the store, or those called `names`, or of `models` (artifacts, aliases, folders).

    Returns `exams`, one for each question that was put (another limit or another file is another question): name, kind,
    settings (those that are not the default), template, items, figure (its name: `figure`, or the one that stands for
    the kind) and `models`, the best first: model, aliases, artifact, value, low, high, n, leaked
    (`tasks.exams.leaked`). `mlflow`: the same as a view of MLflow (`runs_filter`), where one exam is asked for.

    Raises:
        ConfigError: no such exam was sat, or none of them has the figure.
    """
    with use_run(Run(store, Resources().resolved(), Display(quiet=True), plan=Plan())):  # nothing is made here
        wanted = {_who(given_model(each)) for each in models}
        taken = sorted(store.list("exam"), key=lambda each: (each.path / "manifest.json").stat().st_mtime_ns)
        found: dict[str, dict[Who, Artifact]] = {}
        for each in taken:
            who, name = _model_of(each), read_exam(each)["name"]
            if (not names or name in names) and (not models or who in wanted):
                found.setdefault(asked_of(each), {})[who] = each  # of several answers to the same the newest
    if not found:
        asked_for = f" called {', '.join(names)}" if names else ""
        whose = f" of {', '.join(models)}" if models else ""
        there = ", ".join(sorted({read_exam(each)["name"] for each in taken})) or "none"
        raise ConfigError(f"no exam{asked_for}{whose} was sat; there are: {there} (`textmill evaluate MODEL TASK`)")
    aliases: dict[Who, list[str]] = {}
    for alias, at in store.aliases().items():
        aliases.setdefault((at["stage"], at["key"]), []).append(alias)
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
    return f"tags.`textmill.stage` = 'exam' AND attributes.run_name LIKE '{name}: %' AND attributes.status = 'FINISHED'"


def view(name: str, figure: str, kind: str) -> str | None:
    """The address of MLflow's table of the runs of an exam, the best first; None where MLflow does not answer."""
    from flows.commands.start import mlflow_link  # loads what a table alone does without

    address = mlflow_link()
    if "/experiments/" not in address:
        return None
    order = f"metrics.`{name}/{figure}`"
    ascending = str(kind in LESS_IS_BETTER).lower()
    return f"{address}&searchFilter={quote(runs_filter(name))}&orderByKey={quote(order)}&orderByAsc={ascending}"


def _table(
    aliases: dict[Who, list[str]], checks: Checks, of: dict[Who, Artifact], figure: str | None
) -> dict[str, Any] | None:
    described = {who: read_exam(each) for who, each in of.items()}
    first, manifest = next(iter(described.values())), next(iter(of.values())).manifest()
    config, template = manifest["config"]["exam"], manifest["config"]["template"]
    name = figure or main_figure(first["exam"], first["figures"], template)
    rows = [
        {
            "model": f"{who[0]}/{who[1][:8]}",
            "aliases": sorted(aliases.get(who, [])),
            "artifact": each.name,
            **{part: described[who]["figures"][name][part] for part in ("value", "low", "high", "n")},
            "leaked": checks.of(each),
        }
        for who, each in of.items()
        if name in described[who]["figures"]
    ]
    if not rows:
        return None
    less = first["exam"] in LESS_IS_BETTER
    rows.sort(key=lambda row: (row["value"] if less else -row["value"], row["model"]))
    usual = {key: field.default for key, field in EXAMS[first["exam"]].model_fields.items()}
    settings = {key: value for key, value in config.items() if key not in HIDDEN and value != _plain(usual.get(key))}
    return {
        "name": first["name"],
        "kind": first["exam"],
        "settings": settings,
        "template": template["name"] if template else None,
        "items": first["items"],
        "figure": name,
        "less_is_better": less,
        "models": rows,
    }


def _plain(value: Any) -> Any:
    """As JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def _model_of(taken: Artifact) -> Who:
    [model] = taken.manifest()["inputs"]["model"]
    return model["stage"], model["key"]


def _who(model: Artifact) -> Who:
    return model.stage, model.key
