"""Files of Hugging Face folders."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder by name, whether in one file or several.

    Raises FileNotFoundError if there are none (pickled ones are never read), ValueError for names outside the folder.
    """
    index = folder / "model.safetensors.index.json"
    if index.exists():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        if outside := [n for n in names if Path(n).name != n]:
            raise ValueError(f"{index}: names files outside the folder: {outside[0]}")
        return {k: v for name in names for k, v in load_file(folder / name).items()}
    if not (folder / "model.safetensors").exists():
        raise FileNotFoundError(
            f"{folder}: no model.safetensors (pickled weights are never read: convert them with transformers' "
            "save_pretrained)"
        )
    return load_file(folder / "model.safetensors")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """As transformers writes its configurations."""
    path.write_text(json.dumps(content, indent=2) + "\n")
