"""Classifier folders: a model folder of kind "gpt_classifier", whose config.json names the classes."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from lm.config import GPTConfig
from lm.finetune.heads import ClassificationModel
from lm.models.gpt import GPT
from lm.tokenizer import copy_tokenizer, load_tokenizer

KIND = "gpt_classifier"


def save_classifier(model: ClassificationModel, classes: Sequence[str], tokenizer_dir: Path, folder: Path) -> None:
    """Write model.safetensors, config.json and the tokenizer of `tokenizer_dir` to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "model.safetensors.tmp"
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, partial)
    os.replace(partial, folder / "model.safetensors")
    copy_tokenizer(tokenizer_dir, folder)
    described = {
        "kind": KIND,
        "classes": list(classes),
        "head_dropout": model.dropout.p,
        "pooling": model.pooling,
        "backbone": model.backbone.config.model_dump(),
    }
    write_json(folder / "config.json", described)


def load_classifier(folder: Path) -> tuple[ClassificationModel, Tokenizer, list[str]]:
    """The classifier (on the CPU, in eval mode), its tokenizer and its class names.

    Raises ValueError if the folder holds another kind of model.
    """
    path = folder / "config.json"
    described = json.loads(path.read_text())
    if described.get("kind") != KIND:
        raise ValueError(f"{path}: not a {KIND!r} model: {described.get('kind')!r}")
    backbone = GPT(GPTConfig(**described["backbone"]))
    model = ClassificationModel(
        backbone, len(described["classes"]), described["head_dropout"], pooling=described["pooling"]
    )
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval(), load_tokenizer(folder), described["classes"]


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write and rename into place."""
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)
