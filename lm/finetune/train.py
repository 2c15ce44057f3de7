"""One fine-tuning run: a backbone (or random weights of its size), labelled texts, and the one trainer."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lm.artifact import load_model, weights_sha256
from lm.finetune.artifact import save_classifier, write_json
from lm.finetune.config import FinetuneConfig
from lm.finetune.heads import ClassificationModel, with_special_tokens
from lm.finetune.inputs import ClassificationExamples, Labelled, class_names, read_labelled
from lm.finetune.objective import ClassificationObjective
from lm.finetune.predictions import PREDICTIONS_FILE, Predictions, write_predictions
from lm.models.gpt import GPT
from lm.order import draw_seed
from lm.stop import ShouldStop, check, never
from lm.tokens import tokenizer_sha256
from lm.train.hooks import Hooks
from lm.train.trainer import Trainer

DECIDING = {"initialisation", "dropout", "head_dropout", "pooling", "auxiliary_weight", "max_tokens"}
"""Settings that decide the result and are none of the trainer's."""


def finetune(
    train: Path,
    valid: Path,
    test: Path,
    backbone: Path,
    config: FinetuneConfig,
    directory: Path,
    hooks: Hooks | None = None,
    should_stop: ShouldStop = never,
    checkpoints: Path | None = None,
) -> dict[str, Any]:
    """Fine-tune on `train`, keep the weights that are best on `valid`, predict `valid` and `test`.

    Args:
        train, valid, test: Parquet files with columns id, text, label, label_name (`read_labelled`).
        backbone: model folder, our own or a Hugging Face GPT-2's. With `initialisation: random` its configuration
            and tokenizer are used, its weights are not.
        directory: where the classifier (a model artifact of kind "gpt_classifier"), predictions.parquet and
            metrics.json go.
        hooks, should_stop: as for `Trainer`; evaluations report accuracy, error_rate, macro_f1 and nats on dev.
        checkpoints: holds the run's state: called again after a kill or `Interrupted`, the run goes on there and ends
            in the same bits. None: `directory`/checkpoints, removed when the run is done.

    Returns what metrics.json says: classes, initialisation, seed, steps, best_step, parameters, and the scores
    (`Predictions.scores`) of valid and test.
    """
    labelled = {"train": read_labelled(train), "valid": read_labelled(valid), "test": read_labelled(test)}
    names = class_names(*labelled.values())
    pretrained, tokenizer = load_model(backbone)
    model = build_classifier(pretrained, len(names), config)
    settings = pretrained.config
    max_tokens = min(config.max_tokens or settings.context, settings.context)
    examples = {
        split: ClassificationExamples(part, tokenizer, settings.vocab, max_tokens) for split, part in labelled.items()
    }
    steps = math.ceil(config.epochs * len(examples["train"]) / config.batch)

    def evaluate(current: torch.nn.Module) -> dict[str, float]:
        scores = _predict(current, labelled["valid"], examples["valid"], should_stop).scores()
        figures = {name: float(scores[name]) for name in ("accuracy", "macro_f1", "nats")}
        return figures | {"error_rate": 1 - figures["accuracy"]}

    trainer = Trainer(
        model=model,
        objective=ClassificationObjective(config.auxiliary_weight),
        examples=examples["train"],
        config=config.train_config(settings, steps),
        steps=steps,
        directory=checkpoints or directory / "checkpoints",
        evaluate=evaluate,
        hooks=hooks or Hooks(),
        should_stop=should_stop,
        best_metric="error_rate",
        settings={
            "finetune": config.model_dump(mode="json", include=DECIDING),
            "classes": names,
            "backbone": weights_sha256(backbone),
            "tokenizer": tokenizer_sha256(backbone),
        },
    )
    result = trainer.run()
    model.eval()
    predictions = {split: _predict(model, labelled[split], examples[split], should_stop) for split in ("valid", "test")}
    summary = {
        "classes": names,
        "initialisation": config.initialisation,
        "seed": config.seed,
        "steps": result.step,
        "best_step": result.best_step,
        "parameters": sum(p.numel() for p in model.parameters()),
        **{split: p.scores() for split, p in predictions.items()},
    }
    write_predictions(directory / PREDICTIONS_FILE, predictions)
    save_classifier(model, names, backbone, directory)
    write_json(directory / "metrics.json", summary)
    if checkpoints is None:
        shutil.rmtree(directory / "checkpoints")
    return summary


def build_classifier(backbone: GPT, classes: int, config: FinetuneConfig) -> ClassificationModel:
    """The untrained classifier that a run starts from; `config.seed` decides everything that is new."""
    if config.initialisation == "random":
        backbone = GPT(backbone.config, seed=draw_seed(config.seed, "backbone"))
    extended = with_special_tokens(backbone, draw_seed(config.seed, "special tokens"), config.dropout)
    return ClassificationModel(extended, classes, config.head_dropout, draw_seed(config.seed, "head"), config.pooling)


@torch.no_grad()
def predict(
    model: ClassificationModel, examples: ClassificationExamples, batch: int = 64, should_stop: ShouldStop = never
) -> np.ndarray:
    """Class probabilities, float32 [n, classes], in the examples' order; the model should be in eval mode.

    Examples of like length go together, so that little is spent on padding.
    """
    device = next(model.parameters()).device
    out = np.empty((len(examples), model.head.out_features), np.float32)
    by_length = np.argsort(examples.lengths, kind="stable")
    for start in range(0, len(by_length), batch):
        check(should_stop, "predicting")
        chosen = by_length[start : start + batch]
        inputs = examples.batch(chosen)
        logits, _ = model(inputs["tokens"].to(device), inputs["lengths"].to(device))
        out[chosen] = logits.float().softmax(dim=-1).cpu().numpy()
    return out


def _predict(
    model: torch.nn.Module, labelled: Labelled, examples: ClassificationExamples, should_stop: ShouldStop
) -> Predictions:
    assert isinstance(model, ClassificationModel)
    return Predictions(labelled.ids, labelled.labels, predict(model, examples, should_stop=should_stop))
