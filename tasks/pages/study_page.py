"""A study as Markdown: what was reached, against the baseline, and what such a set can tell apart."""

from collections.abc import Iterator
from typing import Any

from tasks.pages.finetune_phrases import lost_phrases, stopped_early

P_SHOWN = 0.001  # below it three decimals say nothing


def page(said: dict[str, Any]) -> str:
    """The page of a study, from what study.json holds."""
    lines = [f"# {said['name']}", ""]
    for task, about in said["tasks"].items():
        lines += [f"## {task}", "", f"![{about['metric']} against labels]({about['picture']})", ""]
        rows = [row for row in said["rows"] if row["task"] == task]
        lines += [*_table(rows), "", *_resolution(about), "", *_stopped(rows), *_lost(rows)]
    lines += [
        "± is the standard deviation over seeds. Intervals are 95 % bootstrap intervals over the items: they say how"
        " sure a figure is for items like these, not how other seeds would do. A difference in bold has an interval"
        " without 0; of many comparisons about one in twenty has by chance.",
    ]
    if any(row["split"] == "valid" for row in said["rows"]):
        lines += [
            "",
            "Figures on `valid` are of the weights that were best on it among the looks of a run, so they are a little"
            " too good, alike for every system that is fine-tuned.",
        ]
    return "\n".join(lines) + "\n"


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    first = rows[0]
    yield f"| labels | system | {first['metric']} ({first['split']}) | 95 % interval | seeds | difference | p |"
    yield "|---:|---|---:|---|---:|---|---:|"
    for row in sorted(rows, key=lambda row: (row["examples"], -row["mean"])):
        spread = f" ± {row['sd']:.3f}" if len(row["values"]) > 1 else ""
        reached = f"{row['mean']:.3f}{spread} | {row['low']:.3f} to {row['high']:.3f} | {len(row['values'])}"
        yield f"| {row['examples']:,} | {row['system']} | {reached} | {_difference(row['against'])} |"


def _difference(found: dict[str, Any] | None) -> str:
    if found is None:
        return "| "
    value = f"{found['value']:+.3f}"
    shown = f"**{value}**" if found["resolved"] else value
    between = f"({found['low']:+.3f} to {found['high']:+.3f})"
    p_value = "< 0.001" if found["p_value"] < P_SHOWN else f"{found['p_value']:.3f}"
    return f"{shown} {between} to {found['system']} | {p_value}"


def _stopped(rows: list[dict[str, Any]]) -> Iterator[str]:
    looks = [of for row in rows for of in row["looks"]]
    if early := sum(map(stopped_early, looks)):
        made, planned = (sum(of[name] for of in looks) for name in ("made", "planned"))
        yield (
            f"**Stopped early** {'were' if early > 1 else 'was'} {early} of {len(looks)} runs, after {made} of"
            f" {planned} looks at dev in all: enough in a row were no better than the best, whose weights are kept."
        )
        yield ""


def _lost(rows: list[dict[str, Any]]) -> Iterator[str]:
    """What did not fit; systems of which the same is true stand together."""
    alike: dict[tuple[int, tuple[str, ...]], list[str]] = {}
    for row in rows:
        if phrases := tuple(lost_phrases(row["lost"])):
            alike.setdefault((row["examples"], phrases), []).append(f"**{row['system']}**")
    if alike:
        yield "What did not fit into an input:"
        yield ""
        for (examples, phrases), systems in alike.items():
            yield f"- {', '.join(systems)} at {examples:,} labels: {'; '.join(phrases)}"
        yield ""


def _resolution(about: dict[str, Any]) -> Iterator[str]:
    yield f"**What {about['items']:,} items can tell apart.** "
    if about["resolves"]:
        least, most = about["resolves"]["least"], about["resolves"]["most"]
        yield (
            f"Of the comparisons above (paired bootstrap) a difference of {least:.3f} to {most:.3f} would have been the"
            " smallest with an interval without 0. "
        )
    shares = ", ".join(f"{float(share):.0%}: {value:.3f}" for share, value in about["resolution"].items())
    yield (
        "By McNemar's test, the smallest significant difference of two accuracies when only one of two systems is"
        f" right on so many of the items: {shares}."
    )
