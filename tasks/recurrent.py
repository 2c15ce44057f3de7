"""Pretrain a recurrent language model: the state is carried through the text, and through checkpoints."""

import json

from lm.models.rnn_config import RNNConfig, StreamConfig
from tasks.pretrain import REGISTERED_NAME, TrainingRequest, register, require_sequences, split_index
from tasks.stage import Work, stage
from tasks.store import Artifact
from tasks.training import training


class RecurrentRequest(TrainingRequest):
    """A model, how it reads and how it is trained; the vocabulary is that of the tokenizer."""

    model: RNNConfig
    stream: StreamConfig


@stage(version=1, libraries=("torch",))
def pretrain_recurrent(
    work: Work,
    config: RecurrentRequest,
    *,
    tokens: Artifact,
    split: Artifact,
    tokenizer: Artifact,
    mixture: Artifact | None = None,
) -> None:
    """Train on the training documents; the artifact is a model folder with results and samples beside it.

    Args:
        mixture: how often each training document is read in an epoch (copies.parquet); None: once.
    """
    from lm.pretrain_recurrent import pretrain_recurrent as run
    from lm.tokenizer import load_tokenizer

    model = config.model.model_copy(update={"vocab": load_tokenizer(tokenizer.path).get_vocab_size()})
    indexes = {"train": split_index(tokens, split, "train", mixture), "valid": split_index(tokens, split, "valid")}
    require_sequences(indexes, config.stream.bptt)
    with training(work) as (hooks, should_stop):
        result = run(
            indexes["train"],
            indexes["valid"],
            tokenizer.path,
            model,
            config.stream,
            config.train,
            work.scratch / "checkpoints",
            work.directory,
            hooks=hooks,
            should_stop=should_stop,
        )
    result = {name: value for name, value in result.items() if name not in ("resumed_from", "checkpoint")}
    (work.directory / "result.json").write_text(json.dumps(result, indent=1))
    work.counts |= {
        "parameters": result["parameters"],
        "tokens": result["tokens"],
        "steps": result["step"],
        "valid_bits_per_byte": result["valid"]["bits_per_byte"],
    }
    register(work, REGISTERED_NAME, {**model.model_dump(), "tokens": result["tokens"]})
