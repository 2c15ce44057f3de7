"""The mixture: how often each kept document is drawn. A table; the order of training is made of it later."""

from data_quality.config import MixtureConfig
from tasks.profile import PROFILE
from tasks.running.run import current_run
from tasks.stage import Work, stage
from tasks.storage.files import read_json
from tasks.store import Artifact
from tasks.tokenizer import count_tables


@stage(version=2)
def mixture(
    work: Work,
    config: MixtureConfig,
    *,
    corpus: Artifact,
    duplicates: list[Artifact],
    tokens: list[Artifact],
    split: Artifact | None = None,
) -> None:
    """Write copies.parquet (id, copies) and count, for each source or language, what was wanted and what was drawn.

    Args:
        tokens: of `tokenize` or `count_tokens`, for unit "tokens" only.
        split: then only its training documents are drawn, and count; None: all documents. A group that has none is
            drawn 0 times.
    """
    from data_quality.mixture import draw_mixture

    groups = draw_mixture(
        [shard.path for shard in corpus.shards()],
        work.directory / "copies.parquet",
        config,
        duplicate_paths=[artifact.file("duplicates.parquet") for artifact in duplicates],
        token_paths=[path for artifact in tokens for path in count_tables(artifact)],
        split_path=None if split is None else split.file("split.parquet"),
        temp_directory=work.scratch,
        memory_limit=work.resources.memory_limit,
        threads=work.resources.threads,
        progress=work.progress.start(sum(int(shard.counts["documents"]) for shard in corpus.shards()), "documents"),
    )
    work.counts |= {
        "documents": sum(group["documents"] for group in groups),
        "drawn_documents": sum(group["drawn_documents"] for group in groups),
        "drawn": sum(group["drawn"] for group in groups),
        "groups": {group["group"]: {k: v for k, v in group.items() if k != "group"} for group in groups},
    }
    work.table("mixture", groups, f"What is drawn from each {config.by}, in {config.unit}")


def check_weights_early(config: MixtureConfig, profile: Artifact) -> None:
    """Raise UsageError for a weight of a group that nothing was kept of, before tokens are counted for the mixture."""
    if current_run().plan is not None:
        return
    from data_quality.mixture import check_weights

    groups = read_json(profile.file(PROFILE))[f"{config.by}s"]
    check_weights(config, [name for name, figures in groups.items() if figures["kept"]])
