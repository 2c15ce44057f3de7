"""Losses: what a causal model says of the test documents, and of the documents that it was trained on."""

from pydantic import Field

from tasks.evaluate import ScoreConfig
from tasks.pretrain import split_index
from tasks.stage import Work, stage
from tasks.storage.files import read_json, write_json
from tasks.store import Artifact

LOSSES = "losses.json"


class LossesConfig(ScoreConfig):
    """What is scored."""

    context: int = Field(description="Tokens of a sequence.")


@stage(version=1, libraries=("torch", "tokenizers"))
def losses(
    work: Work,
    config: LossesConfig,
    *,
    model: Artifact,
    tokens: Artifact,
    split: Artifact,
    mixture: Artifact | None = None,
) -> None:
    """Bits per byte of the test documents and, with the `mixture` that it was trained on, of training documents.

    The first `sequences` of each, documents in the order of the hash of their ids: all models are asked the same.
    """
    import torch

    from lm.packing import PackedSequences
    from lm.text_model import open_model

    torch.set_num_threads(work.resources.threads)
    opened = open_model(model.path, config.device)
    asked = {"held_out": split_index(tokens, split, "test")}
    if mixture is not None:
        asked["own"] = split_index(tokens, split, "train", mixture)
    figures = {}
    with (
        torch.autocast(config.device, torch.bfloat16, enabled=config.precision == "bf16"),
        work.graceful_stop() as should_stop,
    ):
        for name, index in asked.items():
            sequences = PackedSequences(index, config.context, config.document_mask)
            figures[name] = opened.bits_per_byte(sequences, min(config.sequences, len(sequences)), should_stop)
    write_json(work.directory / LOSSES, figures)
    work.counts |= {f"{name}_bits_per_byte": found["bits_per_byte"] for name, found in figures.items()}


def read_losses(found: Artifact) -> dict[str, float]:
    """Bits per byte by what was asked: `held_out`, and `own` if it was."""
    return {name: figures["bits_per_byte"] for name, figures in read_json(found.file(LOSSES)).items()}
