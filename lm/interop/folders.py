"""Files of Hugging Face folders."""

import json
from pathlib import Path
from typing import Any

import torch

from lm.damaged import AGAIN, DamagedFile, read_object
from lm.weights import read_weights as read_file


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder by name, whether in one file or several.

    Raises FileNotFoundError if there are none (pickled ones are never read), ValueError for names outside the folder.
    """
    index = folder / "model.safetensors.index.json"
    if index.exists():
        weight_map = read_object(index).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
            raise DamagedFile(f"{index}: no weight_map of file names: {AGAIN}")
        names = sorted(set(weight_map.values()))
        if outside := [n for n in names if Path(n).name != n or n == ".."]:
            raise ValueError(f"{index}: names files outside the folder: {outside[0]}")
        return {k: v for name in names for k, v in read_file(folder / name).items()}
    if not (folder / "model.safetensors").exists():
        raise FileNotFoundError(
            f"{folder}: no model.safetensors (pickled weights are never read: convert them with transformers' "
            "save_pretrained)"
        )
    return read_file(folder / "model.safetensors")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """As transformers writes its configurations."""
    path.write_text(json.dumps(content, indent=2) + "\n")
