"""Keeps stage versions honest: a stage whose output changed must have a new version, or old results would be served.

    python -m tests.tasks.stage_versions          # record what is new or has a new version

A case builds the artifact of one stage from tiny inputs. Its digest is committed in `stage_digests.json` beside the
stage's version, those of its parts and of the libraries it declares: what else changes the digest is a change of code.
"""

import json
import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data_quality.config import LanguageConfig
from flows.config.pipeline import PipelineConfig
from flows.corpus import build_corpus
from flows.pretrain import build_tokens
from tasks.labelled import labelled
from tasks.languages import languages
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.stage import STAGES, Stage, library_versions
from tasks.store import Artifact, Store
from tests.tasks import dedupe_cases, labelled_cases, schedule_cases, translation_cases
from tests.tasks.stages import NumbersConfig, numbers, squares, total
from tests.tasks.tiny_corpus import configuration, prose, write_documents

RECORD = Path(__file__).with_name("stage_digests.json")
TINY = NumbersConfig(count=3)

CASES: dict[str, Callable[[], Artifact]] = {
    "numbers": lambda: numbers(TINY),
    "squares": lambda: squares(TINY, source=numbers(TINY)),
    "total": lambda: total(TINY, source=numbers(TINY)),
    "urls": dedupe_cases.urls_case,
    "url_dedupe": dedupe_cases.url_case,
    "line_tables": dedupe_cases.line_tables_case,
    "boilerplate": dedupe_cases.boilerplate_case,
    "windows": dedupe_cases.windows_case,
    "substring": dedupe_cases.substring_case,
    "count_tokens": dedupe_cases.token_counts_case,
    "mixture": dedupe_cases.mixture_case,
    "mixture: a budget of tokens": dedupe_cases.mixture_by_tokens_case,
    "pairs": translation_cases.pairs_case,
    "pair_tokenizer": translation_cases.pair_tokenizer_case,
    "labelled_set": labelled_cases.labelled_set_case,
    "corpus_change": schedule_cases.change_case,
    "contest_documents": schedule_cases.contest_documents_case,
    "contest": schedule_cases.contest_case,
}


def stage_of(case: str) -> Stage:
    """The stage of a case of CASES: what stands before a colon, where one stage has several."""
    return STAGES[case.partition(":")[0]]


PIPELINE = (
    "ingest",
    "normalize",
    "signals",
    "signatures",
    "bands",
    "judge",
    "dedupe",
    "pii",
    "benchmark_index",
    "contamination",
    "decide",
    "filter_corpus",
    "profile",
    "split",
    "train_tokenizer",
    "tokenize",
    "labelled",
    "languages",
)
"""The real stages whose output is the same on every machine; trained weights are not."""

WRITERS = ("duckdb", "numpy", "pyarrow")  # a new version of these may write other bytes for the same rows


def observed_pipeline(root: Path) -> dict[str, dict[str, Any]]:
    """What `observed` says of each stage of PIPELINE, from one run over sixty generated documents."""
    write_documents(root / "documents")
    (root / "benchmark.txt").write_text(prose(random.Random(2), "harbours"))
    benchmark = {"name": "harbours", "paths": [str(root / "benchmark.txt")]}
    config: PipelineConfig = configuration(root / "documents", decontaminate={"benchmarks": [benchmark]})
    assert config.task is not None
    with use_run(Run(Store(root / "store"), Resources(workers=1, threads=1), Display(quiet=True))) as run:
        corpus = build_corpus(config)
        build_tokens(config, corpus)
        labelled(config.task, corpus=corpus.kept, split=corpus.split)
        languages(LanguageConfig(), corpus=corpus.normalized)
    return {r.stage: _observation(STAGES[r.stage], r.artifact) for r in run.records if r.stage in PIPELINE}


def observed(stage: Stage, case: Callable[[], Artifact], root: Path) -> dict[str, Any]:
    """Version, libraries and output digest of a stage now, built in a new store with one worker."""
    with use_run(Run(Store(root), Resources(workers=1, threads=1), Display(quiet=True))):
        artifact = case()
    if artifact.stage != stage.name:
        raise ValueError(f"the case of {stage.name} returns an artifact of {artifact.stage}")
    return _observation(stage, artifact)


def _observation(stage: Stage, artifact: Artifact) -> dict[str, Any]:
    libraries = library_versions(sorted({*stage.libraries, *WRITERS}))
    manifests = [json.loads((part / "manifest.json").read_text()) for part in artifact.part_directories()]
    parts = {manifest["stage"]: manifest["version"] for manifest in manifests}
    return {"version": stage.version, "libraries": libraries, "digest": artifact.digest, "parts": parts}


def problem(stage: Stage, now: Mapping[str, Any], recorded: Mapping[str, Any] | None) -> str | None:
    """What is wrong with a stage's version, or None."""
    if recorded is None or (now["version"], now["parts"]) != (recorded["version"], recorded["parts"]):
        return f"stage {stage.name} version {now['version']} is not on record: python -m {__spec__.name}"
    if now["digest"] == recorded["digest"] or now["libraries"] != recorded["libraries"]:
        return None
    return (
        f"stage {stage.name} gives another output than on record, but its version still is {stage.version}: "
        f"old artifacts would be served. Raise the version where it is defined, then python -m {__spec__.name}"
    )


def stale_parts(stage: Stage, now: Mapping[str, Any], recorded: Mapping[str, Any] | None) -> str | None:
    """What is wrong where a stage got a new version and the parts that it is made of did not, or None."""
    if recorded is None or now["digest"] == recorded["digest"] or now["libraries"] != recorded["libraries"]:
        return None
    if not now["parts"] or now["parts"] != recorded["parts"]:
        return None
    listed = ", ".join(f"{name} {version}" for name, version in now["parts"].items())
    return (
        f"stage {stage.name} gives another output and has a new version, but its parts do not ({listed}): old parts "
        "would be served. Raise the version in its call of build_parts, too"
    )


def main() -> None:
    """Record the digests of new stages, new versions and new library versions; refuse what is not honest."""
    recorded: dict[str, Any] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        found = {name: observed(stage_of(name), case, Path(folder) / name) for name, case in CASES.items()}
        found |= observed_pipeline(Path(folder))
        for name, now in found.items():
            stage = stage_of(name)
            before = recorded.get(name)
            known = before is not None and (before["version"], before["parts"]) == (now["version"], now["parts"])
            if known and (wrong := problem(stage, now, before)):
                raise SystemExit(wrong)
            if stale := stale_parts(stage, now, before):
                raise SystemExit(stale)
            recorded[name] = now
    RECORD.write_text(json.dumps({name: recorded[name] for name in sorted(found)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
