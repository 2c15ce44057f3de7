"""n-grams: a statistical language model of the training documents. One pass of counting, nothing to resume."""

from lm.ngram.config import NgramConfig
from tasks.pretrain import split_index
from tasks.stage import Work, stage
from tasks.store import Artifact


@stage(version=1)
def ngram(
    work: Work,
    config: NgramConfig,
    *,
    tokens: Artifact,
    split: Artifact,
    tokenizer: Artifact,
    mixture: Artifact | None = None,
) -> None:
    """Count and smooth; the artifact is a model folder.

    Args:
        mixture: how often each training document is counted (copies.parquet); None: once.
    """
    from lm.ngram.build import build_ngram
    from lm.ngram.model import load_ngram

    index = split_index(tokens, split, "train", mixture)
    with work.graceful_stop() as should_stop:
        described = build_ngram(
            index,
            tokenizer.path,
            config,
            work.directory,
            memory_limit=work.resources.memory_limit,
            threads=work.resources.threads,
            scratch=work.scratch,
            progress=work.progress.start(index.tokens, "tokens"),
            should_stop=should_stop,
        )
    work.counts |= {
        "documents": described["sequences"],
        "tokens": described["tokens"],
        "parameters": load_ngram(work.directory).parameter_count(),
        **{f"{order}-grams": count for order, count in enumerate(described["ngrams"], start=1)},
    }
