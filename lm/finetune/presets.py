"""Settings of fine-tuning that were published, of fixed length as they were, and ours for small models."""

from typing import Any

from lm.finetune.config import FinetuneConfig
from lm.presets import from_preset

FINETUNE_PRESETS: dict[str, FinetuneConfig] = {
    # Ours: a decoder of a few million parameters on some thousand examples.
    "small-gpt": FinetuneConfig(),
    # An encoder of that size: the largest of the rates that Turc et al. 2019 tried for BERT-Tiny to BERT-Medium
    # (google-research/bert README: 8 to 128 examples, 3e-4, 1e-4, 5e-5, 3e-5, 4 epochs).
    "small-bert": FinetuneConfig(learning_rate=3e-4, batch=16, epochs=4),
    # Radford et al. 2018; openai/finetune-transformer-lm `train.py`: 8 examples on each of 4 GPUs.
    "gpt1": FinetuneConfig(
        learning_rate=6.25e-5,
        batch=32,
        epochs=3,
        warmup=0.002,
        pooling="extract",
        auxiliary_weight=0.5,
        patience=None,
    ),
    # Devlin et al. 2019, appendix A.3: the best on dev of 2e-5, 3e-5, 5e-5 (and 16 or 32 examples, 2 to 4 epochs).
    "bert": FinetuneConfig(
        learning_rate=2e-5, batch=32, epochs=3, pooling="pooler", auxiliary_weight=0.0, max_answer=30, patience=None
    ),
    # Ours: frozen features (ELMo, word2vec, GloVe, CoVe), of which a mix and a linear layer learn.
    "features": FinetuneConfig(
        learning_rate=0.01, batch=32, epochs=10, pooling="mean", auxiliary_weight=0.0, head_dropout=0.2
    ),
    # Howard & Ruder 2018, section 4.1: 50 epochs there, all layers after the first few, and no early stopping.
    "ulmfit": FinetuneConfig(
        learning_rate=0.01,
        batch=64,
        epochs=15,
        schedule="stlr",
        pooling="concat",
        layer_factor=2.6,
        unfreeze_epochs=1.0,
        auxiliary_weight=0.0,
        weight_decay=0.0,
        dropout=None,
        patience=None,
    ),
}


def finetune_preset(name: str, **replaced: Any) -> FinetuneConfig:
    """A preset by name with these fields replaced. Raises ValueError naming the nearest one if there is none."""
    return from_preset(FINETUNE_PRESETS, name, **replaced)
