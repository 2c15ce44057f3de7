"""Fine-tuned models as folders of kind "finetuned": model.safetensors, config.json and the tokenizer.

config.json names the task, the settings of the fine-tuning (every `auto` resolved) and of the backbone. Where adapters
learned, they are merged: the folder needs no adapter to be used; `adapters.safetensors` holds them by themselves.
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import nn

from lm.artifact import described
from lm.damaged import naming
from lm.finetune.backbone import MODULES, Backbone
from lm.finetune.config import FinetuneConfig
from lm.finetune.features.backbone import Features, new_features, words_of
from lm.finetune.features.head import FeatureHead
from lm.finetune.features.words import CUTTING_FILES, copy_words
from lm.finetune.forms.base import TaskForm
from lm.finetune.forms.choose import form_of
from lm.finetune.forms.text import TextForm
from lm.finetune.heads import Head, SequenceHead, TaskModel, TokenHead
from lm.finetune.kinds import kind_of, settings_of
from lm.finetune.lora import merge_adapters
from lm.labelled.folder import Task
from lm.tokenizer import copy_tokenizer, load_tokenizer
from lm.weights import check_size, load_weights, read_weights

KIND = "finetuned"
ADAPTERS = "adapters.safetensors"
MODEL_FILES = ("config.json", "model.safetensors", *CUTTING_FILES)
"""All that `load_finetuned` may read, of which a folder has what its kind of model needs. What lies beside them
(figures, predictions) quotes the set."""


def make_head(form: TaskForm, config: FinetuneConfig, backbone: Backbone, seed: int = 0) -> Head:
    """The head of a form; `config` is resolved."""
    if isinstance(backbone, Features):
        return _feature_head(form, config, backbone, seed)
    if form.per_token:
        return TokenHead(backbone.width, form.outputs, config.head_dropout, seed)
    assert config.pooling != "auto"
    return SequenceHead(
        backbone.width,
        form.outputs,
        config.pooling,
        config.head_dropout,
        seed,
        at_first=backbone.kind.encoder,
        orders=form.orders,
    )


def _feature_head(form: TaskForm, config: FinetuneConfig, backbone: Features, seed: int) -> FeatureHead:
    assert config.pooling in ("mean", "concat")
    pair = isinstance(form, TextForm) and form.texts == 2
    return FeatureHead(
        backbone.width,
        backbone.depth,
        form.outputs,
        per_token=form.per_token,
        pooling=config.pooling,
        lstm=config.features_lstm,
        dropout=config.head_dropout,
        seed=seed,
        texts=2 if pair else 1,
        symmetric=isinstance(form, TextForm) and form.symmetric,
    )


def save_finetuned(
    model: TaskModel,
    task: Task,
    config: FinetuneConfig,
    vocab: int,
    pairs: bool,
    threshold: float,
    tokenizer_dir: Path,
    folder: Path,
) -> None:
    """Write a folder; adapters of the model are merged by it.

    Args:
        vocab: of the backbone before new tokens came.
        pairs: whether it was taught on pairs of texts.
        threshold: of questions that may have no answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if adapters := {n: p.detach().cpu().contiguous() for n, p in model.named_parameters() if n.endswith((".a", ".b"))}:
        save_file(adapters, folder / ADAPTERS)
        merge_adapters(model)
    partial = folder / "model.safetensors.tmp"
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, partial)
    os.replace(partial, folder / "model.safetensors")
    (copy_words if model.backbone.kind.features else copy_tokenizer)(tokenizer_dir, folder)
    content = {
        "kind": KIND,
        "task": task.model_dump(mode="json"),
        "settings": config.model_dump(mode="json"),
        "vocab": vocab,
        "pairs": pairs,
        "threshold": threshold,
        "backbone": model.backbone.settings.model_dump(mode="json"),
    }
    write_json(folder / "config.json", content)


class Finetuned(NamedTuple):
    """What a folder holds: the model (on the CPU, in eval mode), its form with its tokenizer, its task, how it was
    fine-tuned, and whether on pairs of texts."""

    model: TaskModel
    form: TaskForm
    task: Task
    settings: FinetuneConfig
    pairs: bool


def load_finetuned(folder: Path) -> Finetuned:
    """The fine-tuned model of a folder.

    Raises FileNotFoundError if there is no model, ValueError if it is one of another kind.
    """
    config = described(folder)
    if config.get("kind") != KIND:
        raise ValueError(f"{folder / 'config.json'}: not a {KIND!r} model: {config.get('kind')!r}; fine-tune it first")
    with naming(folder / "config.json"):
        return _open(folder, config)


def _open(folder: Path, config: dict[str, Any]) -> Finetuned:
    path, weights = folder / "config.json", read_weights(folder / "model.safetensors")
    task = Task.model_validate(config["task"])
    # what was learned stands in the weights: nothing is to be frozen or adapted any more
    settings = FinetuneConfig.model_validate({**config["settings"], "lora": None, "freeze": 0})
    sizes = settings_of(config["backbone"])
    check_size(sizes, weights, path)  # type: ignore[arg-type]
    kept = {"threshold": config["threshold"], "pairs": config["pairs"]}
    backbone: Backbone
    if kind_of(sizes).features:
        words = words_of(sizes, folder)
        form, backbone = form_of(task.ask, settings, sizes, config["vocab"], words, **kept), new_features(sizes, words)
    else:
        form = form_of(task.ask, settings, sizes, config["vocab"], load_tokenizer(folder), **kept)
        backbone = Backbone(MODULES[sizes.kind](sizes))  # type: ignore[attr-defined]
    model = TaskModel(backbone, make_head(form, settings, backbone))
    load_weights(model, weights, folder / "model.safetensors")
    return Finetuned(model.eval(), form, task, settings, config["pairs"])


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write and rename into place."""
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def device_of(model: nn.Module) -> torch.device:
    """Where a model's weights are."""
    return next(model.parameters()).device
