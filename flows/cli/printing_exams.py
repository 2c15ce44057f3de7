"""Exams and comparisons as people read them."""

from typing import Any

from rich.markup import escape

from flows.cli.printing import out
from tasks.exams.leaked import in_words

MOST = 24  # figures of one exam; --json has all


def show_exams(found: dict[str, Any]) -> None:
    """A table for each exam: figure, value, interval, items; what the figures mean stands below."""
    out.print(f"\n  {escape(str(found['model']))} ({found['kind']})")
    for exam in found["exams"]:
        known = "  [dim]asked before[/]" if exam["cached"] else ""
        out.print(f"\n  [bold]{escape(exam['name'])}[/]  {exam['items']:,} items  {exam['artifact']}{known}")
        figures = sorted(exam["figures"].items(), key=lambda item: "/" in item[0])  # what is over all comes first
        for name, figure in figures[:MOST]:
            out.print(f"    {name:<52} {number(figure['value']):>10}  {interval(figure):<20} n {figure['n']:,}")
        if len(figures) > MOST:
            out.print(f"    ... {len(figures) - MOST} more with --json")
        if exam["leaked"]:
            out.print(f"    of its {exam['items']:,} items {in_words(exam['leaked'])}", markup=False)
        for name, value in exam["definition"].items():
            out.print(f"    {name}: {value}", markup=False)


def show_taken(found: dict[str, Any]) -> None:
    """A table for each question: models, the figure and its interval, the best first."""
    for exam in found["exams"]:
        asked = [f"of {in_short(exam['of'])}"] if exam["of"] else []
        asked += [f"template {exam['template']}"] if exam["template"] else []
        asked += [f"{name} {value}" for name, value in exam["settings"].items()]
        asked += [f"version {exam['version']} of exams, which is no longer today's"] if exam["version"] else []
        said = f"{exam['items']:,} items, {exam['figure']}" + (", less is better" if exam["less_is_better"] else "")
        out.print(f"\n  [bold]{escape(exam['name'])}[/]  {escape(said)}", highlight=False)
        if asked:
            out.print(f"    {', '.join(asked)}", markup=False)
        for row in exam["models"]:
            line = f"    {called(row):<44} {number(row['value']):>10}  {interval(row):<20} n {row['n']:,}"
            line += f"  ({in_words(row['leaked'])})" if row["leaked"] else ""
            out.print(line, markup=False)
        if exam["without"]:
            out.print(f"    without that figure: {', '.join(map(called, exam['without']))}", markup=False)
    if found["mlflow"]:
        out.print(f"\n  In MLflow: {found['mlflow']}", markup=False)


def called(row: dict[str, Any]) -> str:
    """A model and its aliases."""
    return row["model"] + (f" ({', '.join(row['aliases'])})" if row["aliases"] else "")


def in_short(names: list[str]) -> str:
    """The first of them, and how many more there are."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def show_comparison(found: dict[str, Any]) -> None:
    """Differences with their intervals, and the items that changed."""
    for exam in found["exams"]:
        out.print(f"\n  [bold]{escape(exam['name'])}[/]  {exam['items']:,} items that both have")
        out.print(f"    first   {escape(str(found['first']))}  {exam['first']}")
        out.print(f"    second  {escape(str(found['second']))}  {exam['second']}")
        difference = exam["difference"]
        out.print(
            f"    difference of the mean score {difference['value']:+.4f}  ({difference['low']:+.4f} to"
            f" {difference['high']:+.4f}, p {difference['p_value']:.4f}; paired bootstrap)"
        )
        for name, group in exam["groups"].items():
            shown = f"{group['value']:+.4f}  ({group['low']:+.4f} to {group['high']:+.4f})"
            out.print(f"      {name:<42} {shown}  n {group['items']:,}", markup=False)
        out.print(f"    {'figure':<44} {'first':>10} {'second':>10}")
        for name, (a, b) in list(exam["figures"].items())[:MOST]:
            out.print(f"    {name:<44} {number(a):>10} {number(b):>10}")
        changed = exam["changed"]
        out.print(f"    better by the first: {changed['first_better']:,}, by the second: {changed['second_better']:,}")
        for side, ids in exam["examples"].items():
            if ids:
                out.print(f"      {side.replace('_', ' ')}: {', '.join(ids)}", markup=False)


def show_finetunes(found: dict[str, Any]) -> None:
    """A line for each split and metric: both means over the seeds, and their difference with its interval."""
    out.print(f"\n  [bold]{escape(found['task'])}[/]")
    for side in ("first", "second"):
        seeds = found["comparisons"][0][side]["seeds"]
        out.print(f"    {side:<7} {escape(found[side])}, {seeds} {'seed' if seeds == 1 else 'seeds'}")
    out.print(f"    {'':<24} {'first':>16} {'second':>16}   difference (95 % interval; paired bootstrap)")
    for each in found["comparisons"]:
        means = [f"{each[side]['mean']:.4f} ± {each[side]['sd']:.4f}" for side in ("first", "second")]
        gap = each["difference"]
        shown = f"{gap['value']:+.4f}  ({gap['low']:+.4f} to {gap['high']:+.4f}, p {gap['p_value']:.4f})"
        name = f"{each['split']} {each['metric']}"
        out.print(f"    {name:<24} {means[0]:>16} {means[1]:>16}   {shown}  n {each['items']:,}", markup=False)


def number(value: float) -> str:
    """Four digits behind the point, whole numbers as they are."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) > 1 else f"{value:.4f}"


def interval(figure: dict[str, Any]) -> str:
    """The 95 % interval of a figure; nothing where there is none."""
    return "" if figure["low"] is None else f"{figure['low']:.4f} to {figure['high']:.4f}"
