"""One fine-tuning run: a backbone (or random weights of its size), a labelled set, and the one trainer."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from lm.artifact import weights_sha256
from lm.finetune.artifact import make_head, save_finetuned, write_json
from lm.finetune.backbone import Backbone, open_backbone, randomised, with_new_tokens
from lm.finetune.config import HOW, FinetuneConfig
from lm.finetune.features.backbone import Features, new_features
from lm.finetune.features.words import Words, words_sha256
from lm.finetune.forms.base import TaskForm
from lm.finetune.forms.choose import form_of, new_tokens, texts_of, weights_of
from lm.finetune.forms.questions import QuestionForm
from lm.finetune.freeze import learning_count, prepare, task_groups, unfreezing
from lm.finetune.heads import TaskModel, use_pretrained_pooler
from lm.finetune.objective import FinetuneObjective
from lm.finetune.predictions import PREDICTIONS_FILE, Predictions, write_predictions
from lm.finetune.run import answer, as_predictions, held_out_splits
from lm.finetune.scores import metric_of
from lm.finetune.threshold import best_threshold
from lm.labelled.folder import LabelledSet
from lm.labelled.forms import Classification, Form
from lm.order import draw_seed
from lm.stop import ShouldStop, never
from lm.tokens import tokenizer_sha256
from lm.train.hooks import Hooks
from lm.train.trainer import Trainer


def finetune(
    data: Path,
    backbone: Path,
    config: FinetuneConfig,
    directory: Path,
    hooks: Hooks | None = None,
    should_stop: ShouldStop = never,
    checkpoints: Path | None = None,
) -> dict[str, Any]:
    """Fine-tune on the set's train split, keep the weights that are best on `valid`, predict `valid` and `test`.

    Args:
        data: a labelled set (`lm.labelled.folder`) with the splits train and valid, and perhaps test.
        backbone: model folder, our own or a Hugging Face one. With `initialisation: random` its configuration and
            tokenizer are used, its weights are not.
        directory: where the fine-tuned model (`lm.finetune.artifact`), predictions.parquet and metrics.json go.
        hooks, should_stop: as for `Trainer`; evaluations report the task's metrics on dev, and as `error` one less the
            first of them, by which the best weights are chosen.
        checkpoints: holds the run's state: called again after a kill or `Interrupted`, the run goes on there and ends
            in the same bits. None: `directory`/checkpoints, removed when the run is done.

    Returns what metrics.json says: task, metric (its first), classes (of a classification), initialisation, seed,
    steps, best_step, `looks` at dev (`made` and, had it not stopped early, `planned`), parameters, learning (how many
    of them learn), `lost` (of each split, how many examples did not fit: `lm.finetune.forms.base.Items`), of models
    that give features `words` (how many each split has, and how many of them are unknown), and the scores
    (`Predictions.scores`) of valid and test.
    Raises ValueError for a set or settings that do not fit the model.
    """
    labelled = LabelledSet(data)
    task = labelled.task
    splits = held_out_splits(labelled)
    examples: dict[str, list[dict[str, Any]]] = {
        split: labelled.read(split).to_pylist() for split in ("train", *splits)
    }
    for split, rows in examples.items():
        if not rows:
            raise ValueError(f"{data / f'{split}.parquet'}: no examples")
    pretrained, tokenizer = open_backbone(backbone)
    config = config.resolve(pretrained.settings)
    weights = weights_of(task.ask, config, examples["train"])
    pairs = has_pairs(examples["train"])
    if other := [split for split in splits if has_pairs(examples[split]) and not pairs]:
        raise ValueError(f"{data / f'{other[0]}.parquet'}: has a second text (text_b), which no training example has")
    built = build(task.ask, pairs, pretrained, tokenizer, config, weights)
    for name in task.metrics:
        metric_of(task, name)
    model, form = built.model, built.form
    learning = learning_count(model)
    items, words = {}, {}
    for split, rows in examples.items():
        before = counted(tokenizer)
        items[split] = form.items(rows)
        words[split] = {name: after - before[name] for name, after in counted(tokenizer).items()}
    if words["train"] and words["train"]["unknown"] == words["train"]["words"]:
        raise ValueError(
            f"{backbone}: none of the {words['train']['words']:,} words to learn from is in its vocabulary"
        )
    if isinstance(form, QuestionForm) and config.max_answer is None:
        form.max_answer = form.longest_answer(items["train"])
        config = config.model_copy(update={"max_answer": form.max_answer})
    per_epoch = len(items["train"]) / config.batch
    steps = math.ceil(config.epochs * len(items["train"]) / config.batch)
    woken = unfreezing(model, config, per_epoch)

    def predict(split: str) -> Predictions:
        return as_predictions(task, examples[split], answer(model, form, items[split], should_stop=should_stop))

    def evaluate(current: torch.nn.Module) -> dict[str, float]:
        found = predict("valid").scores()
        figures = {name: float(value) for name, value in found.items() if isinstance(value, float)}
        return figures | {"error": 1 - float(found[task.metrics[0]])}

    plan = config.train_config(pretrained.settings, steps)
    interval = int(plan.eval_interval)
    result = Trainer(
        model=model,
        objective=FinetuneObjective(form, float(config.auxiliary_weight)),
        examples=items["train"],
        config=plan,
        steps=steps,
        directory=checkpoints or directory / "checkpoints",
        evaluate=evaluate,
        hooks=hooks or Hooks(),
        should_stop=should_stop,
        best_metric="error",
        groups=lambda _: task_groups(model, config),
        patience=None if config.patience is None else int(config.patience),
        rate_scale=woken or constant_rate,
        settings={
            "finetune": config.model_dump(mode="json", exclude=set(HOW)),
            "task": task.ask.model_dump(mode="json"),
            "backbone": weights_sha256(backbone),
            "tokenizer": words_sha256(backbone) if pretrained.kind.features else tokenizer_sha256(backbone),
        },
    ).run()
    model.eval()
    predictions: dict[str, Predictions] = {split: predict(split) for split in splits}
    threshold = 0.0
    if isinstance(form, QuestionForm) and form.ask.unanswerable:
        threshold = form.threshold = best_threshold(predictions["valid"], task.metrics[0])
        predictions = {split: _under(form, of) for split, of in predictions.items()}
    save_finetuned(model, task, config, pretrained.vocab, pairs, threshold, backbone, directory)
    summary = {
        "task": task.name,
        "metric": task.metrics[0],
        **({"classes": list(task.ask.classes)} if isinstance(task.ask, Classification) else {}),
        "initialisation": config.initialisation,
        "seed": config.seed,
        "steps": result.step,
        "best_step": result.best_step,
        "looks": {"made": math.ceil(result.step / interval), "planned": math.ceil(steps / interval)},
        "parameters": sum(p.numel() for p in model.parameters()),
        "learning": learning,
        "examples": len(examples["train"]),
        "lost": {split: found for split, of in items.items() if (found := {k: n for k, n in of.lost.items() if n})},
        **({"words": words} if pretrained.kind.features else {}),
        **({"threshold": threshold} if threshold else {}),
        **{split: p.scores() for split, p in predictions.items()},
    }
    write_predictions(directory / PREDICTIONS_FILE, predictions)
    write_json(directory / "metrics.json", summary)
    if checkpoints is None:
        shutil.rmtree(directory / "checkpoints")
    return summary


@dataclass(frozen=True)
class Built:
    """An untrained model for a task, and the form that makes its inputs."""

    model: TaskModel
    form: TaskForm


def build(
    ask: Form,
    pairs: bool,
    pretrained: Backbone,
    tokenizer: Tokenizer | Words,
    config: FinetuneConfig,
    class_weights: list[float] | None = None,
) -> Built:
    """The model that a run starts from; `config`, which is resolved, and its seed decide everything that is new.

    The backbone gains nothing but the rows of new tokens, and those only in a model that has no [CLS] and [SEP].
    """
    form = form_of(ask, config, pretrained.settings, pretrained.vocab, tokenizer, class_weights or (), pairs=pairs)
    if isinstance(pretrained, Features):
        return _on_features(form, pretrained, config)
    start = pretrained
    if config.initialisation == "random":
        start = randomised(pretrained, draw_seed(config.seed, "backbone"))
    rows = new_tokens(pretrained.settings, texts_of(ask, pairs))
    extended = with_new_tokens(start, rows, draw_seed(config.seed, "special tokens"), config.dropout)
    model = TaskModel(extended, make_head(form, config, extended, draw_seed(config.seed, "head")))
    if config.initialisation == "pretrained":
        use_pretrained_pooler(model.head, extended)
    prepare(model, config, rows, draw_seed(config.seed, "adapters"))
    return Built(model, form)


def _on_features(form: TaskForm, given: Features, config: FinetuneConfig) -> Built:
    start = given
    if config.initialisation == "random":
        start = new_features(given.settings, given.words, draw_seed(config.seed, "backbone"))
    model = TaskModel(start, make_head(form, config, start, draw_seed(config.seed, "head")))
    prepare(model, config, 0, 0)
    return Built(model, form)


def counted(tokenizer: Tokenizer | Words) -> dict[str, int]:
    """How many words a model that gives features has been given so far, and how many it did not know."""
    return {"words": tokenizer.read, "unknown": tokenizer.unknown} if isinstance(tokenizer, Words) else {}


def constant_rate(step: int) -> float:
    """The rate scale of a run that only its schedule scales."""
    return 1.0


def has_pairs(rows: list[dict[str, Any]]) -> bool:
    """Whether any example has a second text."""
    return any(row.get("text_b") is not None for row in rows)


def _under(form: QuestionForm, predictions: Predictions) -> Predictions:
    """The same under the form's threshold."""
    rows = [{**row, "predicted": form.said(dict(row))} for row in predictions.rows]
    return Predictions(predictions.task, rows)
