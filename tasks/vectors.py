"""Word vectors: word2vec or GloVe on the training documents, going on from its last checkpoint."""

import json

from lm.vectors.config import VectorsConfig
from tasks.pretrain import split_index
from tasks.running.hooks import training
from tasks.stage import Work, stage
from tasks.store import Artifact


@stage(version=3, libraries=("numba",))
def word_vectors(
    work: Work,
    config: VectorsConfig,
    *,
    tokens: Artifact,
    split: Artifact,
    tokenizer: Artifact,
    mixture: Artifact | None = None,
) -> None:
    """Train vectors of the tokenizer's words or pieces; the artifact is a model folder.

    Args:
        mixture: how often each training document is read in an epoch (copies.parquet); None: once.
    """
    from lm.ngram.build import parse_size
    from lm.vectors.train import train_vectors

    index = split_index(tokens, split, "train", mixture)
    with training(work) as (hooks, should_stop):
        described = train_vectors(
            index,
            tokenizer.path,
            config,
            work.scratch,
            work.directory,
            memory=parse_size(work.resources.memory_limit) // 2,
            hooks=hooks,
            should_stop=should_stop,
        )
    losses = {name: described[name] for name in ("losses", "losses_at_rest") if name in described}
    (work.directory / "result.json").write_text(json.dumps(losses, indent=1))
    work.counts |= {
        "documents": len(index),
        "tokens": described["tokens"],
        "words": described["words"],
        "parameters": described["words"] * config.dimensions,
        **{name.replace("losses", "loss"): of[-1] for name, of in losses.items()},
        "deterministic": described["deterministic"],
    }
