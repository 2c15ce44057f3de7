"""Pretrain: a language model from token shards, going on from its last checkpoint after any interruption."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from data_quality.errors import UsageError
from lm.config import StrictModel, TrainConfig
from lm.parallel import ParallelConfig
from lm.pretraining import BertPretraining, Pretraining
from tasks.running.hooks import training, write_result
from tasks.stage import Work, library_versions, stage
from tasks.store import Artifact
from tasks.tokenizer import token_stems

if TYPE_CHECKING:
    from lm.tokens import TokenIndex

UNSEEN_IN_RESULT = ("checkpoint_seconds", "checkpoint_interval", "keep_last", "metrics_interval", "data_workers")
REGISTERED_NAME = "textmill-pretrained"


class PretrainRequest(StrictModel):
    """What is pretrained and how, every `auto` resolved.

    The vocabulary is that of the tokenizer; with a model to go on from, the whole model is as that one.
    """

    settings: Pretraining
    train: TrainConfig
    parallel: ParallelConfig = ParallelConfig()

    def key_material(self) -> dict[str, Any]:
        """Without what changes how a training is run, watched and saved, and not what it ends in."""
        material = self.model_dump(mode="json", exclude={"train": set(UNSEEN_IN_RESULT), "parallel": True})
        if isinstance(self.settings, BertPretraining) and self.settings.masking.chinese_words:
            material["segmenter"] = library_versions(["rjieba", "tokenizers", "unicode"])
        return material


@stage(version=2, libraries=("torch",))
def pretrain(
    work: Work,
    config: PretrainRequest,
    *,
    tokens: Artifact,
    split: Artifact,
    tokenizer: Artifact,
    init_from: list[Artifact],
    mixture: Artifact | None = None,
    similar: Artifact | None = None,
    prediction: Artifact | None = None,
) -> None:
    """Train on the training documents; the artifact is a model folder with results and samples beside it.

    Args:
        mixture: how often each training document is read in an epoch (copies.parquet); None: once.
        similar: similar words, of which a masked model is shown one where a word is hidden.
        prediction: what was said of this model before it was trained. It is not read: as an input it had to be there
            first, and the lineage says so.
    """
    from lm.artifact import described
    from lm.launch.launch import pretrain_shared
    from lm.pretrain import pretrain as run
    from lm.recipes.recipe import Given
    from lm.tokenizer import load_tokenizer

    settings = config.settings.with_vocab(load_tokenizer(tokenizer.path).get_vocab_size())
    if init_from:
        settings = config.settings.with_model(described(init_from[0].path))
    indexes = {name: split_index(tokens, split, name) for name in ("valid", "test")}
    indexes["train"] = split_index(tokens, split, "train", mixture)
    require_sequences(indexes, settings.tokens_per_example)
    with training(work, config.train.device) as (hooks, should_stop):
        given = Given(
            settings,
            config.train,
            indexes["train"],
            indexes["valid"],
            tokenizer.path,
            init_from[0].path if init_from else None,
            should_stop,
            similar.path if similar else None,
        )
        checkpoints, parallel = work.scratch / "checkpoints", config.parallel
        if parallel.ranks == 1:
            result = run(given, checkpoints, work.directory, hooks)
        else:
            work.environment |= {"processes": parallel.ranks, "sharding": parallel.sharding}
            jobs = work.scratch / "processes"
            result = pretrain_shared(given, parallel, checkpoints, work.directory, hooks, jobs, work.resources.threads)
    write_result(work, result)
    work.counts |= {
        f"{name}_{figure}": figures[figure]
        for name, figures in result.items()
        for figure in ("bits_per_byte", "masked_accuracy", "pair_accuracy")
        if isinstance(figures, dict) and figure in figures
    }
    register(work, REGISTERED_NAME, {**settings.model.model_dump(), "tokens": result["tokens"]})


def register(work: Work, name: str, params: dict[str, object], made: Artifact | None = None) -> None:
    """Have a model, by default this stage's, registered in MLflow, as a reference to its artifact, alias `newest`."""
    path = work.published if made is None else made.path
    work.journal.write("model", name=name, alias="newest", path=str(path), key=path.name, params=params)


def require_sequences(indexes: Mapping[str, "TokenIndex"], context: int) -> None:
    """Refuse a split that gives no sequence now, rather than when a trained model is to be tested on it.

    Raises:
        UsageError: naming the split and what to change.
    """
    from lm.packing import PackedSequences

    for name, index in indexes.items():
        try:
            PackedSequences(index, context)
        except ValueError as error:
            advice = "" if name == "train" else f", or raise `split.{name}_fraction`"
            raise UsageError(f"the {name} split is too small: {error}{advice}") from error


def split_index(tokens: Artifact, split: Artifact, name: str, mixture: Artifact | None = None) -> "TokenIndex":
    """The documents of one split, as an index over the token shards; with a mixture, each as often as it says."""
    import numpy as np
    import pyarrow.parquet as pq

    from lm.tokens import build_index

    table = pq.read_table(split.file("split.parquet"), columns=["id"], filters=[("split", "=", name)])
    times = dict.fromkeys(table["id"].to_pylist(), 1)
    if mixture is not None:
        drawn = pq.read_table(mixture.file("copies.parquet"), columns=["id", "copies"])
        often = zip(drawn["id"].to_pylist(), drawn["copies"].to_pylist(), strict=True)
        times = {id: copies for id, copies in often if id in times}
    return build_index(token_stems(tokens), lambda ids: np.array([times.get(i, 0) for i in ids.to_pylist()]))
