"""Report: what was read, what was dropped and why, what the models learned, as one self-contained page."""

from data_quality.config import StrictModel
from tasks.reports.data import Amount, Headline, ReportData
from tasks.reports.inputs import Classified, Reported
from tasks.running.run import current_run
from tasks.running.tables import database
from tasks.stage import Work, stage
from tasks.storage.files import write_json
from tasks.store import Artifact

PAGE = "report.html"
DATA = "report.json"


class ReportConfig(StrictModel):
    """What the report is called."""

    name: str


@stage(version=4)
def report(
    work: Work,
    config: ReportConfig,
    *,
    raw: Artifact,
    normalized: Artifact,
    signals: Artifact,
    scores: list[Artifact],
    signatures: Artifact,
    bands: list[Artifact],
    verdicts: Artifact,
    addresses: list[Artifact],
    duplicates: Artifact,
    found: list[Artifact],
    decisions: Artifact,
    kept: Artifact,
    profile: Artifact,
    mixture: list[Artifact],
    split: Artifact | None = None,
    tokenizer: Artifact | None = None,
    tokens: Artifact | None = None,
    model: Artifact | None = None,
    evaluation: Artifact | None = None,
    examples: Artifact | None = None,
    pretrained: list[Artifact] | None = None,
    scratch: list[Artifact] | None = None,
    baseline: Artifact | None = None,
    comparison: Artifact | None = None,
) -> None:
    """Write report.html and report.json, the data behind it.

    A leaf: nothing is made from it. So it may read what no other stage may, the seconds, memory and journals of the
    artifacts, and its bytes may differ between two runs. It is a stage all the same, so that an unchanged run has its
    report at once. Cleaning alone gives what describes a corpus, training its split, tokens and model too, and the
    five last inputs are there when the pipeline has a task.
    """
    from tasks.reports.page import render_report

    task = None
    if examples and pretrained and scratch and baseline and comparison:
        task = Classified(examples, pretrained, scratch, baseline, comparison)
    made = Reported(
        raw=raw,
        normalized=normalized,
        signals=signals,
        scores=scores,
        signatures=signatures,
        bands=bands,
        verdicts=verdicts,
        addresses=addresses,
        duplicates=duplicates,
        found=found,
        decisions=decisions,
        kept=kept,
        profile=profile,
        mixture=mixture,
        split=split,
        tokenizer=tokenizer,
        tokens=tokens,
        model=model,
        evaluation=evaluation,
        task=task,
    )
    data = gather(work, config.name, made)
    write_json(work.directory / DATA, data.model_dump(mode="json"))
    (work.directory / PAGE).write_text(render_report(data), encoding="utf-8")
    work.journal.write("file", path=PAGE, directory="report")
    work.markdown.append(("report", _summary(work, data)))
    work.counts["reasons"] = len(data.drops)


def gather(work: Work, name: str, made: Reported) -> ReportData:
    """The data of the whole page."""
    from tasks.reports import gather_corpus as corpus
    from tasks.reports import gather_families as families
    from tasks.reports import gather_models as models
    from tasks.reports import gather_run as about
    from tasks.reports.gather_drops import dropped, drops, shown_in
    from tasks.reports.gather_funnel import funnel
    from tasks.reports.gather_rules import overlap, threshold_curves
    from tasks.reports.gather_sizes import sizes
    from tasks.reports.gather_texts import languages, mixture, spans
    from tasks.reports.gather_view import measure, show

    run = current_run()
    artifacts = about.with_origins(made.artifacts())
    date, seconds = about.started(run)
    read, left = made.raw.counts(), made.kept.counts()
    with database(work.resources, work.scratch / "spill") as connection:
        measure(connection, made)
        found = dropped(connection, made)
        largest = families.largest_families(connection, [*made.addresses, made.duplicates])
        show(connection, made.kept, [*shown_in(found), *families.shown_in(largest)])
        reasons = drops(connection, made, found)
        steps = funnel(connection, made)
        return ReportData(
            headline=Headline(
                run=name,
                date=date,
                raw=Amount(documents=read["documents"], bytes=read["text_bytes"]),
                kept=Amount(
                    documents=left["documents"],
                    bytes=left["bytes"],
                    tokens=made.tokens.counts()["tokens"] if made.tokens else None,
                ),
                drawn=steps[-1].out if made.mixture else None,
                seconds=seconds,
            ),
            funnel=steps,
            drops=reasons,
            overlap=overlap(connection),
            curves=threshold_curves(connection, made.verdicts),
            skips=corpus.skips(connection, made.raw),
            sources=corpus.sources(connection, sizes(work, made.raw), sizes(work, made.kept)),
            languages=languages(connection),
            lengths=corpus.lengths(connection),
            addresses=families.addresses(connection, made.addresses, largest),
            duplicates=families.duplicates(connection, made.signatures, made.duplicates, largest),
            spans=spans(connection, made.decisions),
            mixture=mixture(made.mixture),
            pretraining=models.pretraining(made.model, made.evaluation) if made.model and made.evaluation else None,
            finetuning=models.finetuning(connection, **vars(made.task)) if made.task else None,
            stages=about.stages(run, artifacts),
            environment=about.environment(run, artifacts),
            lineage=about.lineage(artifacts),
            commands=about.commands(made.kept, made.model, reasons[0].examples[0].id if reasons else None),
        )


def _summary(work: Work, data: ReportData) -> str:
    """The key figures as Markdown, and where the page is."""
    from tasks.reports.summary import lead, tiles

    path = work.published / PAGE
    figures = [f"| {tile.name} | {tile.figure} | {', '.join(tile.subs)} |" for tile in tiles(data)]
    sentence = "".join(f"**{words}**" if bold else words for bold, words in lead(data))
    table = "\n".join(["| | | |", "|---|---|---|", *figures])
    return f"# {data.headline.run}\n\n{sentence}\n\n{table}\n\nThe whole report: [{path}]({path.as_uri()})\n"
