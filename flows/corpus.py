"""The corpus: from sources to kept documents and their split. Runs alone every night, or as part of the pipeline."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_quality.config import IngestConfig, Selection
from data_quality.rules import choose_rulesets
from data_quality.signal_catalogue import EDITED_SIGNALS
from data_quality.signal_choice import resolve_signals
from flows.config.curation import Curation
from tasks.bands import bands
from tasks.classifier import classifier_scores, train_classifier
from tasks.decide import DecideConfig, decide
from tasks.decontaminate import benchmark_index, benchmark_request, contamination
from tasks.dedupe import dedupe
from tasks.filter import JudgeRequest, filter_corpus, judge
from tasks.ingest import fingerprinted, ingest
from tasks.languages import languages
from tasks.lineage.curated import Curated
from tasks.lines import boilerplate, line_tables
from tasks.mixture import check_weights_early, mixture
from tasks.normalize import normalize
from tasks.perplexity import perplexity
from tasks.pii import PiiRequest, namer, pii, pii_request
from tasks.profile import pass_gates, profile
from tasks.signals import signals, signatures
from tasks.split import split
from tasks.stage import NoConfig
from tasks.store import Artifact
from tasks.substring import substring, windows
from tasks.url import url_dedupe, urls

if TYPE_CHECKING:
    from flows.config.pipeline import TokensConfig


@dataclass(frozen=True)
class Corpus(Curated):
    """A corpus, and which of its documents train, validate and test."""

    split: Artifact


def curate(config: Curation) -> Curated:
    """Ingest, normalise, measure, judge, dedupe, find what must leave the text, write what is kept and what is not.

    The rules judge before dedupe, so that a document that fails them is never the twin of one that passes. A mixture by
    tokens is not drawn yet, but the names of its weights are checked: whoever has the tokens of what is kept calls
    `mixture_of`.
    """
    personal = _personal(config)  # what is wrong with these shows at once
    compared = config.decontaminate.enabled and config.decontaminate.benchmarks
    benchmarks = benchmark_request(config.decontaminate) if compared else None
    raw = ingest(fingerprinted(config.ingest, config.max_files, personal))
    normalized = normalize(config.normalize, corpus=raw) if config.normalize.enabled else raw
    known = {"languages": languages(config.language, corpus=normalized)} if config.language.enabled else {}
    measured = signals(resolve_signals(config.rules), label="signals", corpus=normalized, **known)
    signed = signatures(config.near_dedupe.signatures(), corpus=normalized)
    shared = [bands(NoConfig(), signatures=signed)] if config.near_dedupe.enabled else []
    scores = _scores(config, normalized, list(known.values()))

    rulesets = choose_rulesets(config.rules)
    named = namer(personal)
    keep, drop = (listed.resolved().named(named) for listed in (config.rules.keep, config.rules.drop))
    verdicts = judge(JudgeRequest(rulesets=rulesets, keep=keep, drop=drop), signals=measured, scores=scores)

    addresses = []
    if config.url.enabled:
        addresses = [url_dedupe(config.url, urls=urls(config.url.form, corpus=normalized), verdicts=[verdicts])]
    duplicates = dedupe(
        config.near_dedupe.dedupe(config.exact),
        signatures=signed,
        bands=shared,
        verdicts=verdicts,
        addresses=addresses,
        scores=scores if config.near_dedupe.keep.policy == "best_score" else [],
        corpus=[normalized] if config.near_dedupe.keep.policy == "oldest" else [],
    )
    doubles = [*addresses, duplicates]

    spans: list[Artifact] = []
    drops: list[Artifact] = []
    indexes: list[Artifact] = []
    if config.lines.enabled:
        tables = line_tables(config.lines.table, corpus=normalized)
        repeated_lines = boilerplate(config.lines, corpus=normalized, lines=tables, duplicates=doubles)
        spans.append(repeated_lines)
        drops.append(repeated_lines)
    if config.substring.enabled:
        hashed = windows(config.substring.window, corpus=normalized)
        repeated = substring(
            config.substring, corpus=normalized, windows=hashed, verdicts=[verdicts], duplicates=doubles
        )
        spans.append(repeated)
        drops.append(repeated)
    if personal is not None:
        spans.append(pii(personal, corpus=normalized))
    if benchmarks is not None:
        indexes.append(benchmark_index(benchmarks))
        overlap = contamination(NoConfig(), corpus=normalized, index=indexes[0])
        (spans if config.decontaminate.action == "cut" else drops).append(overlap)

    decisions = decide(
        DecideConfig(edits=tuple(ruleset.name for ruleset in rulesets if ruleset.name in EDITED_SIGNALS)),
        corpus=normalized,
        signals=measured,
        verdicts=verdicts,
        duplicates=doubles,
        spans=spans,
        drops=drops,
    )
    kept = filter_corpus(NoConfig(), corpus=normalized, decisions=decisions, measured=[measured, *scores])
    figures = profile(NoConfig(), signals=measured, decisions=decisions)
    drawn = []
    if config.counts_tokens:
        check_weights_early(config.mixture, figures)
    elif config.mixture.enabled:
        drawn = [mixture(config.mixture, corpus=kept, duplicates=doubles, tokens=[])]
    found = list(dict.fromkeys([*spans, *drops, *indexes]))
    return Curated(
        raw=raw,
        normalized=normalized,
        signals=measured,
        scores=scores,
        signatures=signed,
        bands=shared,
        verdicts=verdicts,
        addresses=addresses,
        duplicates=duplicates,
        found=found,
        decisions=decisions,
        kept=kept,
        profile=figures,
        mixture=drawn,
    )


def mixture_of(config: Curation, made: Curated, tokens: Artifact, split: Artifact | None = None) -> Artifact:
    """The mixture by tokens of a corpus, or, with its split, of the training documents alone."""
    doubles, among = [*made.addresses, made.duplicates], {} if split is None else {"split": split}
    return mixture(config.mixture, label="mixture", corpus=made.kept, duplicates=doubles, tokens=[tokens], **among)


def _personal(config: Curation) -> PiiRequest | None:
    return pii_request(config.pii) if config.pii.enabled else None


def _scores(config: Curation, normalized: Artifact, identified: list[Artifact]) -> list[Artifact]:
    """The tables that a model makes: how much a document looks like a reference, how surprising it is."""
    scores = []
    if config.classifier.enabled:
        reference = _selected(config, config.classifier.reference, normalized)
        other = _selected(config, config.classifier.raw, normalized)
        model = train_classifier(
            config.classifier,
            reference=reference,
            raw=other,
            reference_languages=_languages_of(config, reference, identified),
            raw_languages=_languages_of(config, other, identified),
        )
        scores.append(classifier_scores(NoConfig(), corpus=normalized, classifier=model, languages=identified))
    if config.perplexity.enabled:
        plain = _selected(config, config.perplexity.reference, normalized)
        scores.append(
            perplexity(
                config.perplexity,
                corpus=normalized,
                reference=plain,
                languages=identified,
                reference_languages=_languages_of(config, plain, identified),
            )
        )
    return scores


def _languages_of(config: Curation, corpus: Artifact, identified: list[Artifact]) -> list[Artifact]:
    """The identified languages of what a model is made of; none, if the corpus at hand has none (`identified`)."""
    return [languages(config.language, label="languages of reference", corpus=corpus)] if identified else []


def _selected(config: Curation, selection: Selection, normalized: Artifact) -> Artifact:
    """The corpus that a selection chooses from: this one, or its own sources, read and normalised alike."""
    if not selection.read:
        return normalized
    raw = ingest(fingerprinted(IngestConfig(sources=selection.read), names=_personal(config)), label="ingest reference")
    return normalize(config.normalize, label="normalize reference", corpus=raw) if config.normalize.enabled else raw


def is_measure(config: "TokensConfig") -> bool:
    """Whether later corpora are compared with this one: not with a sample, nor with one of a day that is past."""
    return config.max_files is None and config.ingest.until is None


def build_corpus(config: "TokensConfig") -> Corpus:
    """The corpus, past its gates, and its split."""
    made = curate(config)
    if is_measure(config):
        pass_gates(config.name, config.gates, made.profile)
    parts = split(
        config.split, corpus=made.kept, signatures=made.signatures, bands=made.bands, duplicates=made.duplicates
    )
    return Corpus(**vars(made), split=parts)
