"""Report data as one self-contained HTML page.

The page works from a file, loads nothing and runs no script. All text that comes in is foreign: the template escapes
every expression, signs stand for characters that would act, and the content security policy names this page's own
style sheet by its hash and forbids the rest.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tasks.reports import figures as report_figures
from tasks.reports import figures_rules as report_figures_rules
from tasks.reports import format as report_format
from tasks.reports import results as report_results
from tasks.reports.data import (
    Amount,
    DropReason,
    FunnelPart,
    FunnelStep,
    LineageNode,
    Pretraining,
    ReportData,
    Sample,
    SourceRow,
    StageRow,
)
from tasks.reports.data_rules import LanguageRow
from tasks.reports.format import MISSING, count, share, size
from tasks.reports.summary import lead, tiles
from tasks.running.visible import visible

HERE = Path(__file__).parent

TITLES = {
    "funnel": "From what was read to what is left",
    "drops": "Why documents were dropped",
    "overlap": "Reasons that hold together",
    "curves": "What other thresholds would drop",
    "skips": "Input that could not be read",
    "sources": "Sources",
    "languages": "Languages before and after",
    "lengths": "Document lengths",
    "addresses": "Documents of one address",
    "duplicates": "Duplicate families",
    "spans": "What was taken out of texts",
    "mixture": "Mixture",
    "pretraining": "Pretraining",
    "finetuning": "Fine-tuning",
    "stages": "Time and memory",
    "lineage": "What it was made from",
    "further": "Looking further",
}


class Limits(NamedTuple):
    """The most of each that the page shows, so that its size is bounded whatever the data."""

    reasons: int = 40
    examples: int = 3
    sources: int = 30
    curves: int = 8
    languages: int = 20
    spans: int = 40
    groups: int = 40
    histograms: int = 4
    families: int = 12
    members: int = 12
    prompts: int = 3
    steps: int = 5
    classes: int = 60
    errors: int = 20
    stages: int = 80
    lineage: int = 150


LIMITS = Limits()


def render_report(data: ReportData) -> str:
    """The whole page as HTML, to be written as UTF-8. Equal data gives equal text; absent data leaves sections out."""
    style, style_hash = style_sheet()
    drops = sorted(data.drops, key=lambda d: (-d.documents, d.name))
    sources = sorted(data.sources, key=lambda s: (-s.raw_bytes, s.name))
    drawings = [(h, report_figures.lengths(h)) for h in data.lengths[: LIMITS.histograms]]
    histograms = [(h, drawing) for h, drawing in drawings if drawing]
    curves = [(c, d) for c in data.curves[: LIMITS.curves] if (d := report_figures_rules.threshold_curve(c))]
    languages = sorted(data.languages, key=lambda row: (-row.bytes, row.name))
    present = {
        "funnel": data.funnel,
        "drops": drops,
        "overlap": data.overlap,
        "curves": curves,
        "skips": data.skips,
        "sources": sources,
        "languages": languages,
        "lengths": histograms,
        "addresses": data.addresses,
        "duplicates": data.duplicates,
        "spans": data.spans,
        "mixture": data.mixture,
        "pretraining": data.pretraining,
        "finetuning": data.finetuning,
        "stages": data.stages,
        "lineage": data.lineage,
        "further": data.commands or data.environment,
    }
    stage_of = {node.key: node.stage for node in data.lineage}
    page = environment().get_template("page.html.jinja")
    return page.render(
        data=data,
        limits=LIMITS,
        titles=TITLES,
        sections=[name for name, content in present.items() if content],
        style=style,
        style_hash=style_hash,
        lead=lead(data),
        tiles=tiles(data),
        funnel_rows=_funnel_rows(data.funnel),
        drops=drops[: LIMITS.reasons],
        drop_total=sum(d.documents for d in drops),
        drops_left=_left(drops[LIMITS.reasons :]),
        sources=sources[: LIMITS.sources],
        sources_rest=_summed(sources[LIMITS.sources :]),
        sources_largest=max((max(s.raw_bytes, s.kept_bytes) for s in sources), default=0),
        curves=curves,
        languages=_language_rows(languages),
        histograms=histograms,
        mixture_largest=max((max(g.size, g.drawn) for g in data.mixture.groups), default=0) if data.mixture else 0,
        samples=_samples(data.pretraining),
        stages=data.stages[: LIMITS.stages],
        stages_rest=len(data.stages[LIMITS.stages :]),
        stage_limits=_stage_limits(data.stages),
        made_from=lambda node: _made_from(node, stage_of),
    )


@cache
def environment(folder: Path = HERE) -> Environment:
    """Templates of a folder: everything is escaped and passes through `visible`."""
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in (
        "count",
        "short",
        "size",
        "memory",
        "duration",
        "share",
        "points",
        "decimal",
        "plain",
        "excerpt",
        "fit",
    ):
        environment.filters[name] = getattr(report_format, name)
    environment.filters["p_value"] = report_results.p_value
    environment.filters["first_line"] = _first_line
    environment.filters["upper_first"] = lambda words: words[:1].upper() + words[1:]
    environment.filters["in_unit"] = lambda value, unit: size(value) if unit == "bytes" else count(value)
    environment.filters["plain_words"] = lambda words: words.replace("_", " ")
    environment.filters["operator"] = lambda sign: {">=": "≥", "<=": "≤", None: "at"}.get(sign, sign)
    for module, names in (
        (report_figures, ("bar", "funnel", "family_sizes", "loss", "small_curve")),
        (report_figures_rules, ("overlap", "source_bar", "before_and_after")),
        (report_results, ("accuracies", "difference", "confusion", "lineage")),
    ):
        environment.globals.update({name: getattr(module, name) for name in names})
    return environment


def _shown(value: Any) -> Any:
    """What an expression of the template puts on the page: no acting characters, nothing for None."""
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def style_sheet() -> tuple[Markup, str]:
    """The style sheet, and its hash as the content security policy wants it."""
    style = (HERE / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return Markup(style), f"sha256-{digest}"


class FunnelRow(NamedTuple):
    """A step as the table shows it."""

    name: str
    note: str | None
    out: Amount
    parts: Sequence[FunnelPart]
    documents_change: str
    bytes_change: str
    of_first: str


def _funnel_rows(steps: Sequence[FunnelStep]) -> list[FunnelRow]:
    first = next((step.out.bytes for step in steps if step.out.bytes), None)
    before: Amount | None = None
    rows = []
    for step in steps:
        into = step.into or before or Amount()
        rows.append(
            FunnelRow(
                step.name,
                step.note,
                step.out,
                step.parts,
                _change(into.documents, step.out.documents),
                _change(into.bytes, step.out.bytes),
                share(step.out.bytes, first),
            )
        )
        before = Amount(
            documents=step.out.documents if step.out.documents is not None else into.documents,
            bytes=step.out.bytes if step.out.bytes is not None else into.bytes,
        )
    return rows


def _change(before: int | None, after: int | None) -> str:
    if before is None or after is None:
        return ""
    if before == after:
        return "0"
    sign = "−" if after < before else "+"
    if before and abs(after - before) / before < 0.0005:
        return "≈ 0"
    return f"{sign}{share(abs(after - before), before)}" if before else f"{sign}{count(abs(after - before))}"


def _left(drops: Sequence[DropReason]) -> dict[str, int] | None:
    return {"reasons": len(drops), "documents": sum(d.documents for d in drops)} if drops else None


def _summed(rows: Sequence[SourceRow]) -> SourceRow | None:
    if not rows:
        return None
    return SourceRow(
        name="",
        raw_documents=sum(r.raw_documents for r in rows),
        raw_bytes=sum(r.raw_bytes for r in rows),
        rules=_total([r.rules for r in rows]),
        duplicates=_total([r.duplicates for r in rows]),
        other=_total([r.other for r in rows]),
        kept_documents=sum(r.kept_documents for r in rows),
        kept_bytes=sum(r.kept_bytes for r in rows),
    )


def _total(amounts: Sequence[Amount | None]) -> Amount:
    known = [amount for amount in amounts if amount is not None]
    return Amount(documents=sum(a.documents or 0 for a in known), bytes=sum(a.bytes or 0 for a in known))


class MixRow(NamedTuple):
    """A language as the table shows it: its share of the text before and after."""

    row: LanguageRow
    before: float
    after: float


def _language_rows(rows: Sequence[LanguageRow]) -> list[MixRow]:
    """The largest languages, and what is left as one row."""
    before, after = sum(r.bytes for r in rows), sum(r.kept_bytes for r in rows)
    rest = rows[LIMITS.languages :]
    shown = list(rows[: LIMITS.languages])
    if rest:
        shown.append(
            LanguageRow(
                name=f"{len(rest)} more",
                documents=sum(r.documents for r in rest),
                bytes=sum(r.bytes for r in rest),
                kept=sum(r.kept for r in rest),
                kept_bytes=sum(r.kept_bytes for r in rest),
            )
        )
    return [
        MixRow(row, row.bytes / before if before else 0.0, row.kept_bytes / after if after else 0.0) for row in shown
    ]


def _stage_limits(stages: Sequence[StageRow]) -> dict[str, float]:
    times = [v for s in stages for v in (s.seconds, s.build_seconds) if v is not None]
    return {
        "seconds": max(times, default=0.0),
        "memory": max((s.peak_bytes or 0 for s in stages), default=0),
        "disk": sum(s.disk_bytes or 0 for s in stages),
        "total": sum(s.seconds or 0.0 for s in stages),
    }


class SampleRows(NamedTuple):
    """Samples by prompt; in a row (sample, validation bits per byte near its step), steps rising."""

    shown: list[tuple[str, list[tuple[Sample, float | None]]]]
    left: int
    prompted: bool


def _samples(training: Pretraining | None) -> SampleRows | None:
    if training is None or not training.samples:
        return None
    rows: dict[str, list[Sample]] = {}
    for sample in sorted(training.samples, key=lambda s: s.step):
        rows.setdefault(sample.prompt, []).append(sample)
    shown = []
    for prompt, row in list(rows.items())[: LIMITS.prompts]:
        last = len(row) - 1
        most = min(LIMITS.steps, len(row))
        picked = [row[round(i * last / max(1, most - 1))] for i in range(most)]
        shown.append((prompt, [(sample, _bits_at(training, sample.step)) for sample in picked]))
    left = len(training.samples) - sum(len(row) for _, row in shown)
    return SampleRows(shown, left, any(prompt for prompt, _ in shown))


def _bits_at(training: Pretraining, step: int) -> float | None:
    found = [p.value for p in training.valid if p.step == step]
    return found[-1] if found else None


def _made_from(node: LineageNode, stage_of: dict[str, str]) -> list[str]:
    return [stage_of.get(key, key) for key in node.inputs] or [MISSING]


def _first_line(text: str) -> str:
    return report_format.fit(re.sub(r"\s+", " ", text).strip() or "(empty)", 330, 14)
