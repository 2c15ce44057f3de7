"""What other thresholds or rulesets would do to a corpus: asked of the signals it has, in seconds, changing nothing."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from data_quality.config import QualityConfig
from data_quality.errors import UsageError
from data_quality.rules import Ruleset, Threshold, choose_rulesets, with_thresholds
from data_quality.tune import at_the_edge, compare_rules
from flows.commands.lookup import filtered_corpus, input_of, scores_of, shard_of, tables_for, with_parts
from flows.config.loading import parse
from tasks.filter import DROPPED
from tasks.running.run import Resources
from tasks.running.tables import rows, score_tables
from tasks.store import Artifact

EXCERPT = 160


def tune(
    corpus: str | None, thresholds: Mapping[str, Threshold], rulesets: list[str] | None, examples: int
) -> dict[str, Any]:
    """Compare the rules that judged a corpus with others.

    Args:
        corpus: a `filter_corpus` artifact; None means the newest.
        thresholds: by reason, such as {"gopher_quality.gopher_short_doc": 30}; a word or words for a rule on a word.
        rulesets: other rulesets than those that judged it; None: the same.
        examples: documents to show on each side of every changed threshold.

    Raises:
        StoreError: there is no such corpus.
        UsageError: an unknown rule or ruleset, or rules that need signals the corpus was not measured for.
    """
    kept = filtered_corpus(corpus)
    decisions = input_of(kept, "decisions")
    verdicts = input_of(decisions, "verdicts")
    before = [Ruleset.model_validate(item) for item in verdicts.manifest()["config"]["rulesets"]]
    after = _changed(before, thresholds, rulesets)
    paths = [shard.path for shard in with_parts(input_of(decisions, "signals")).shards()]
    scores = [score_tables(with_parts(artifact)) for artifact in scores_of(verdicts)]
    resources = Resources().resolved()
    with TemporaryDirectory(prefix="textmill-tune-") as scratch:
        place = Path(scratch)
        answer = compare_rules(paths, before, after, place, resources.memory_limit, resources.threads, scores)
        shown = _examples(kept, decisions, paths, scores, before, after, examples, place, resources)
    return {"corpus": kept.name, **answer, "examples": shown}


def _changed(before: list[Ruleset], thresholds: Mapping[str, Threshold], names: list[str] | None) -> list[Ruleset]:
    if names is not None:  # those that judged it already keep their lists, languages and text versions
        known = {ruleset.name: ruleset for ruleset in before}
        named = list(dict.fromkeys(names))
        new = parse({"rulesets": [name for name in named if name not in known]}, "--rulesets", QualityConfig)
        loaded = {ruleset.name: ruleset for ruleset in choose_rulesets(new)}
        before = [*(known[name] for name in named if name in known), *loaded.values()]
    reasons = [ruleset.reason(rule) for ruleset in before for rule in ruleset.rules]
    unknown = sorted(set(thresholds) - set(reasons))
    if unknown:
        raise UsageError(f"no rule {', '.join(unknown)} judged this corpus; there are: {', '.join(reasons)}")
    return [with_thresholds(ruleset, thresholds) for ruleset in before]


def _examples(
    kept: Artifact,
    decisions: Artifact,
    paths: list[Path],
    scores: list[list[Path]],
    before: list[Ruleset],
    after: list[Ruleset],
    each: int,
    scratch: Path,
    resources: Resources,
) -> dict[str, list[dict[str, Any]]]:
    """For every rule whose threshold is another number now, the documents nearest to it, with the beginning of each."""
    known = {ruleset.reason(rule): rule.threshold for ruleset in before for rule in ruleset.rules}
    found = {}
    for ruleset in after:
        for rule in ruleset.rules:
            changed = known.get(ruleset.reason(rule)) != rule.threshold
            if each and changed and isinstance(rule.threshold, float):  # words have no edge
                limits = (resources.memory_limit, resources.threads)
                near = at_the_edge(paths, ruleset, rule, each, scratch, *limits, scores)
                found[ruleset.reason(rule)] = [{**row, "text": _beginning(kept, decisions, row["id"])} for row in near]
    return found


def _beginning(kept: Artifact, decisions: Artifact, document: str) -> str:
    """Of a document, from the corpus as it was written: what had to be redacted is."""
    shard = shard_of(decisions, document)
    if shard is None:
        return ""
    views = [str(view) for table in tables_for(kept, shard) for view in (table, table.with_name(DROPPED))]
    found = rows(
        "SELECT left(text, $length) AS text FROM read_parquet($views, union_by_name = true) WHERE id = $document",
        {"length": EXCERPT, "views": views, "document": document},
    )
    return " ".join(found[0]["text"].split()) if found else ""
