"""The corpus: from sources to kept documents and their split. Runs alone every night, or as part of the pipeline."""

from dataclasses import dataclass

from prefect import flow

from data_quality.rules import choose_rulesets
from data_quality.signal_catalogue import EDITED_SIGNALS
from data_quality.signal_choice import resolve_signals
from flows.config import PipelineConfig, quickstart
from flows.running import prefect_run
from tasks.decontaminate import ContaminationConfig, benchmark_index, benchmark_request, contamination
from tasks.dedupe import dedupe
from tasks.filter import FilterConfig, JudgeRequest, filter_corpus, judge
from tasks.ingest import fingerprinted, ingest
from tasks.normalize import normalize
from tasks.pii import pii, pii_request
from tasks.profile import ProfileConfig, pass_gates, profile
from tasks.signals import signals, signatures
from tasks.split import split
from tasks.store import Artifact


@dataclass(frozen=True)
class Corpus:
    """The artifacts that describe a corpus; `found` is what leaves the text, `kept` the documents that are left."""

    raw: Artifact
    normalized: Artifact
    signals: Artifact
    signatures: Artifact
    verdicts: Artifact
    duplicates: Artifact
    found: list[Artifact]
    kept: Artifact
    split: Artifact


def build_corpus(config: PipelineConfig) -> Corpus:
    """Ingest, normalise, judge, dedupe, find what must leave the text, filter, split."""
    personal = pii_request(config.pii) if config.pii.enabled else None  # what is wrong with these shows at once
    benchmarks = benchmark_request(config.decontaminate) if config.decontaminate.benchmarks else None
    raw = ingest(fingerprinted(config.ingest, config.max_files))
    normalized = normalize(config.normalize, corpus=raw)
    measured = signals(resolve_signals(config.quality), corpus=normalized)
    signed = signatures(config.signatures, corpus=normalized)
    rulesets = choose_rulesets(config.quality)
    keep, drop = config.quality.keep.resolved(), config.quality.drop.resolved()
    verdicts = judge(JudgeRequest(rulesets=rulesets, keep=keep, drop=drop), signals=measured)
    duplicates = dedupe(config.dedupe, signatures=signed, verdicts=verdicts)
    edits = tuple(ruleset.name for ruleset in rulesets if ruleset.name in EDITED_SIGNALS)
    indexes: list[Artifact] = []
    spans: list[Artifact] = []
    drops: list[Artifact] = []
    if personal is not None:
        spans.append(pii(personal, corpus=normalized))
    if benchmarks is not None:
        index = benchmark_index(benchmarks)
        indexes.append(index)
        shared = contamination(ContaminationConfig(), corpus=normalized, index=index)
        (spans if config.decontaminate.action == "cut" else drops).append(shared)
    found = [*spans, *drops, *indexes]
    kept = filter_corpus(
        FilterConfig(edits=edits),
        corpus=normalized,
        signals=measured,
        verdicts=verdicts,
        duplicates=[duplicates],
        spans=spans,
        drops=drops,
    )
    figures = profile(ProfileConfig(), corpus=normalized, signals=measured, kept=kept)
    pass_gates(config.name, config.gates, figures)
    parts = split(config.split, corpus=kept, signatures=signed, duplicates=duplicates)
    return Corpus(raw, normalized, measured, signed, verdicts, duplicates, found, kept, parts)


@flow(name="corpus-refresh", flow_run_name="corpus {config.name}", persist_result=False)
def corpus_refresh(config: PipelineConfig = quickstart()) -> dict[str, str]:  # noqa: B008
    """Read the sources again and bring the corpus, and the tokens under its tokenizer, up to date."""
    from flows.pretrain import build_tokens

    with prefect_run("corpus-refresh", config):
        corpus = build_corpus(config)
        tokens = build_tokens(config, corpus)
    return {"corpus": corpus.kept.name, "split": corpus.split.name, "tokens": tokens.tokens.name}
