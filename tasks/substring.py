"""Exact substrings: long pieces of text that two kept documents share. Tables; no text is touched here."""

from pathlib import Path
from typing import Any

from data_quality.config import SubstringConfig, WindowConfig
from data_quality.hashing import combine_digests
from tasks.running.hint import earlier_result
from tasks.running.parts import build_parts, one_table, shard_parts
from tasks.running.tables import rows
from tasks.stage import Work, stage
from tasks.storage.files import file_sha256
from tasks.store import Artifact


@stage(version=4, libraries=("unicode",))
def windows(work: Work, config: WindowConfig, *, corpus: Artifact) -> None:
    """Hash every window of tokens of every document."""
    build_parts(work, "windows.shard", 4, windows_part, shard_parts(corpus, config), libraries=("unicode",))


def windows_part(directory: Path, shard: str, config: WindowConfig) -> dict[str, Any]:
    """One shard, in a worker."""
    from data_quality.dedupe.windows import hashes_beside, window_shard

    out = directory / "windows.parquet"
    made = one_table(out, window_shard(Path(shard), out, config))
    made["shards"][0]["digest"] = combine_digests(file_sha256(path) for path in (out, hashes_beside(out)))
    return made


@stage(version=5)
def substring(
    work: Work,
    config: SubstringConfig,
    *,
    corpus: Artifact,
    windows: Artifact,
    verdicts: list[Artifact],
    duplicates: list[Artifact],
) -> None:
    """Write spans.parquet (what goes, and who keeps it) and leftovers.parquet (documents with too little left).

    `windows` was made of `corpus` with `config.window`; documents that fail or are duplicates take no part.

    An earlier artifact of the same config is gone on from, by what it keeps in prints.parquet and runs.parquet. It
    is no input and not in the key: with it or without it, the files are the same.
    """
    from data_quality.dedupe.substring import substring_spans

    spans = work.directory / "spans.parquet"
    shards = [shard.path for shard in corpus.shards()]
    earlier = earlier_result(work, substring.name, substring.version, config.key_material(), like=windows)
    counts = substring_spans(
        shards,
        [shard.path for shard in windows.shards()],
        spans,
        work.directory / "leftovers.parquet",
        config,
        verdict_paths=[shard.path for artifact in verdicts for shard in artifact.shards()],
        duplicate_paths=[artifact.file("duplicates.parquet") for artifact in duplicates],
        keep_state=True,
        previous=earlier.path if earlier else None,
        temp_directory=work.scratch,
        memory_limit=work.resources.memory_limit,
        threads=work.resources.threads,
        progress=work.progress.start(2 * int(windows.counts()["windows"]), "windows"),
    )
    del counts["groups"]  # a matter of memory
    work.journal.metrics({"solved": counts.pop("solved")})  # depends on the hint: not for the manifest
    work.counts.update(counts)
    table = rows(
        'SELECT source, count(*) AS spans, count(DISTINCT id) AS documents, sum("end" - start)::BIGINT AS characters '
        "FROM read_parquet(?) s JOIN read_parquet(?) d USING (id) GROUP BY ALL ORDER BY characters DESC, source",
        [str(spans), [str(path) for path in shards]],
        work,
    )
    work.table("substrings", table, "Repeated pieces of text that go, by source")
