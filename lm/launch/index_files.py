"""An index over token shards as files, for processes that cannot be sent it: JSON and arrays without pickles."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np

from lm.tokens import TokenIndex

ARRAYS = ("shard", "start", "length", "bytes", "token_bytes")


def write_index(index: TokenIndex, folder: Path) -> None:
    """Write `folder`/index.json and a .npy file for each array. The token shards stay where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {field.name: getattr(index, field.name) for field in fields(index) if field.name not in ARRAYS}
    said |= {"shards": [str(path.absolute()) for path in index.shards], "dtype": index.dtype.str}
    (folder / "index.json").write_text(json.dumps(said, indent=1))
    for name in ARRAYS:
        if (array := getattr(index, name)) is not None:
            np.save(folder / f"{name}.npy", array, allow_pickle=False)


def read_index(folder: Path) -> TokenIndex:
    """What `write_index` wrote."""
    said = json.loads((folder / "index.json").read_text())
    said |= {"shards": tuple(Path(path) for path in said["shards"]), "dtype": np.dtype(said["dtype"])}
    found = {name: folder / f"{name}.npy" for name in ARRAYS}
    arrays = {name: np.load(path, allow_pickle=False) for name, path in found.items() if path.exists()}
    return TokenIndex(**said, **arrays)
