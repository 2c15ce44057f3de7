"""Weights in safetensors: read, compared with what the configuration says, and put into a model.

A file that is damaged or not a model's is refused before anything as large as its configuration claims is made: a line
of config.json could otherwise ask for more memory than there is.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file as load_tensors
from torch import Tensor, nn

from lm.damaged import AGAIN, DamagedFile

UNSTORED = ("context", "memory", "band")
"""Sizes that no weight need have: a model may look further back than anything it stores is long."""
TABLE = 1 << 28
"""Numbers of a table of positions that is computed, not stored: 1 GiB."""


class Sized(Protocol):
    """A configuration that knows how many numbers its model learns."""

    def parameter_count(self) -> int: ...

    def model_dump(self) -> dict[str, Any]: ...


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a file by name. Raises DamagedFile, FileNotFoundError for none."""
    try:
        return dict(load_tensors(path))
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise _no_weights(path, error) from error  # the last three: types of numbers that torch does not have


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The same as arrays of numpy."""
    try:
        return dict(load_arrays(path))
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_weights(path, error) from error


def _no_weights(path: Path, error: Exception) -> DamagedFile:
    return DamagedFile(f"{path}: no safetensors file, or a damaged one ({str(error)[:300]}): {AGAIN}")


def check_size(config: Sized, weights: Mapping[str, Tensor], path: Path) -> None:
    """Raise DamagedFile, before it is made, if the model of a configuration is far larger than what is stored.

    A few that lack are named by whoever reads them, one by one.
    """
    stored = sum(tensor.numel() for tensor in weights.values())
    values = config.model_dump()
    for name, size in _sizes(values):
        if size > stored and name not in UNSTORED:
            raise DamagedFile(f"{path}: {name} is {size:,}, but only {stored:,} weights are stored: {AGAIN}")
    if (count := config.parameter_count()) > 2 * stored:
        raise DamagedFile(f"{path}: a model of {count:,} weights, but only {stored:,} are stored: {AGAIN}")
    if "rotary_base" in values and (context := values["context"]) * (values["width"] // values["heads"]) > TABLE:
        raise DamagedFile(f"{path}: context is {context:,}, and its table of positions larger than any: {AGAIN}")
    if (length := values.get("characters", 0)) * values.get("vocab", 0) > stored:
        raise DamagedFile(f"{path}: characters is {length:,} of each word, which are not stored: {AGAIN}")


def _sizes(value: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """Every whole number of a configuration under the name of its field."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _sizes(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _sizes(inner, name)
    elif isinstance(value, int):
        yield name, value


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Put weights into a model. Raises DamagedFile if they are not its own or no real numbers."""
    learned = {name for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    for name, tensor in weights.items():
        if name in learned and not tensor.is_floating_point():
            raise DamagedFile(f"{path}: {name} is of {tensor.dtype}, not of real numbers: {AGAIN}")
    try:
        model.load_state_dict(dict(weights))
    except (RuntimeError, TypeError, KeyError) as error:
        first = " ".join(str(error).split())[:300]
        raise DamagedFile(f"{path}: not the weights of this model ({first}): {AGAIN}") from error


def arrays_of(path: Path, *names: str) -> list[np.ndarray]:
    """Some arrays of a file, in this order. Raises DamagedFile if one lacks."""
    arrays = read_arrays(path)
    if missing := [name for name in names if name not in arrays]:
        raise DamagedFile(f"{path}: no {missing[0]} in it: {AGAIN}")
    return [arrays[name] for name in names]
