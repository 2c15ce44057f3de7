"""Report: what was read, what was dropped and why, what the models learned, as one self-contained page."""

from collections.abc import Mapping, Sequence

from data_quality.config import StrictModel
from tasks.files import write_json
from tasks.report_data import Amount, Headline, ReportData
from tasks.run import current_run
from tasks.stage import Work, stage
from tasks.store import Artifact
from tasks.tables import database

PAGE = "report.html"
DATA = "report.json"


class ReportConfig(StrictModel):
    """What the report is called."""

    name: str


@stage(version=2)
def report(
    work: Work,
    config: ReportConfig,
    *,
    raw: Artifact,
    normalized: Artifact,
    signals: Artifact,
    signatures: Artifact,
    verdicts: Artifact,
    duplicates: Artifact,
    found: list[Artifact],
    kept: Artifact,
    split: Artifact,
    tokenizer: Artifact,
    tokens: Artifact,
    model: Artifact,
    evaluation: Artifact,
    examples: Artifact | None = None,
    pretrained: list[Artifact] | None = None,
    scratch: list[Artifact] | None = None,
    baseline: Artifact | None = None,
    comparison: Artifact | None = None,
) -> None:
    """Write report.html and report.json, the data behind it.

    A leaf: nothing is made from it. So it may read what no other stage may, the seconds, memory and journals of the
    artifacts, and its bytes may differ between two runs. It is a stage all the same, so that an unchanged run has its
    report at once. The five last inputs are there when the pipeline has a task.
    """
    from tasks.report_page import render_report

    corpus = {
        "raw": raw,
        "normalized": normalized,
        "signals": signals,
        "signatures": signatures,
        "verdicts": verdicts,
        "duplicates": duplicates,
        "kept": kept,
        "split": split,
        "tokenizer": tokenizer,
        "tokens": tokens,
    }
    task: dict[str, Artifact | list[Artifact]] = {}
    if examples and pretrained and scratch and baseline and comparison:
        task = {
            "examples": examples,
            "pretrained": pretrained,
            "scratch": scratch,
            "baseline": baseline,
            "comparison": comparison,
        }
    data = gather(work, config.name, corpus, found, model, evaluation, task)
    write_json(work.directory / DATA, data.model_dump(mode="json"))
    (work.directory / PAGE).write_text(render_report(data), encoding="utf-8")
    work.journal.write("file", path=PAGE, directory="report")
    work.markdown.append(("report", _summary(work, data)))
    work.counts["reasons"] = len(data.drops)


def gather(
    work: Work,
    name: str,
    corpus: Mapping[str, Artifact],
    found: Sequence[Artifact],
    model: Artifact,
    evaluation: Artifact,
    task: Mapping[str, Artifact | list[Artifact]],
) -> ReportData:
    """The data of the whole page."""
    from tasks import report_gather_corpus, report_gather_drops, report_gather_models, report_gather_run

    run = current_run()
    after = [a for value in task.values() for a in (value if isinstance(value, list) else [value])]
    corpus_artifacts = [a for key, made in corpus.items() for a in ([*found, made] if key == "kept" else [made])]
    artifacts = [*corpus_artifacts, model, evaluation, *after]
    date, seconds = report_gather_run.started(run)
    raw, kept, split = corpus["raw"], corpus["kept"], corpus["split"]
    read, left, tokens = raw.counts(), kept.counts(), corpus["tokens"].counts()
    with database(work.resources, work.scratch / "spill") as connection:
        report_gather_corpus.measure(connection, corpus["signals"], kept, split)
        drops = report_gather_drops.drops(
            connection, corpus["signals"], corpus["verdicts"], corpus["duplicates"], split
        )
        return ReportData(
            headline=Headline(
                run=name,
                date=date,
                raw=Amount(documents=read["documents"], bytes=read["text_bytes"]),
                kept=Amount(documents=left["documents"], bytes=left["bytes"], tokens=tokens["tokens"]),
                seconds=seconds,
            ),
            funnel=report_gather_corpus.funnel(connection, corpus),
            drops=drops,
            skips=report_gather_corpus.skips(connection, raw),
            sources=report_gather_corpus.sources(connection, raw, kept),
            lengths=report_gather_corpus.lengths(connection),
            duplicates=report_gather_corpus.duplicates(connection, corpus["signatures"], corpus["duplicates"]),
            pretraining=report_gather_models.pretraining(model, evaluation),
            finetuning=report_gather_models.finetuning(connection, **task) if task else None,  # type: ignore[arg-type]
            stages=report_gather_run.stages(run, artifacts),
            environment=report_gather_run.environment(run, artifacts),
            lineage=report_gather_run.lineage(artifacts),
            commands=report_gather_run.commands(kept, model, drops[0].examples[0].id if drops else None),
        )


def _summary(work: Work, data: ReportData) -> str:
    """The key figures as Markdown, and where the page is."""
    from tasks.report_summary import lead, tiles

    path = work.published / PAGE
    figures = [f"| {tile.name} | {tile.figure} | {', '.join(tile.subs)} |" for tile in tiles(data)]
    sentence = "".join(f"**{words}**" if bold else words for bold, words in lead(data))
    table = "\n".join(["| | | |", "|---|---|---|", *figures])
    return f"# {data.headline.run}\n\n{sentence}\n\n{table}\n\nThe whole report: [{path}]({path.as_uri()})\n"
