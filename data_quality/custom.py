"""Signals of the user's own: a Python function, called once for every document."""

import importlib
import importlib.util
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data_quality.config import CustomSignal
from data_quality.words import word_spans


class CustomSignalError(Exception):
    """A function of the user's that cannot be loaded, failed, or gave no finite number."""


@dataclass(frozen=True)
class CustomDocument:
    """What a function of the user's own is given. Words and metadata are computed when first asked for."""

    id: str
    text: str
    language: str | None = None
    source: str | None = None
    metadata_json: str = "{}"
    plain: bool = False  # words as `signals.words: plain` cuts them

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What the source said of the document beside its text (`url`, ...)."""
        loaded: dict[str, Any] = json.loads(self.metadata_json)
        return loaded

    @cached_property
    def spans(self) -> np.ndarray:
        """Start and end (exclusive) of each word in `text`, as its language has it: int64[words, 2] (words.py)."""
        return word_spans(self.text, self.language, self.plain)

    @cached_property
    def words(self) -> list[str]:
        """The words in order, punctuation included."""
        return [self.text[start:end] for start, end in self.spans]


class CustomSignals:
    """The functions of a configuration, loaded."""

    def __init__(self, signals: tuple[CustomSignal, ...]) -> None:
        self._functions = [(signal, load_function(signal.function)) for signal in signals]

    def measure(self, document: CustomDocument) -> dict[str, float]:
        """One value for each signal.

        Raises:
            CustomSignalError: a function raised, or returned what is no finite number or greater than its `upper`;
                names the document and the function.
        """
        return {signal.name: _call(signal, function, document) for signal, function in self._functions}


def load_function(where: str) -> Callable[[CustomDocument], float]:
    """The function at `package.module:function` or `path/to/file.py:function`.

    Raises:
        CustomSignalError: no such file, module or function, or the module failed when it was loaded.
    """
    place, _, name = where.rpartition(":")
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        raise CustomSignalError(f"signals.custom: cannot load {where}: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise CustomSignalError(f"signals.custom: {place} has no function '{name}'")
    loaded: Callable[[CustomDocument], float] = function
    return loaded


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; paths are relative to where the command runs")
    name = f"textmill_custom_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a file that ends in .py has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses in it look their module up
    spec.loader.exec_module(module)
    return module


def _call(signal: CustomSignal, function: Callable[[CustomDocument], float], document: CustomDocument) -> float:
    where = f"signal '{signal.name}' ({signal.function}) of document '{document.id}'"
    try:
        result = function(document)
        value = float(result)
    except Exception as error:
        raise CustomSignalError(f"{where} failed: {type(error).__name__}: {error}") from error
    if not math.isfinite(value):
        raise CustomSignalError(f"{where} is {value}: it must be a finite number")
    if signal.upper is not None and value > signal.upper:
        raise CustomSignalError(f"{where} is {value}, greater than its upper bound {signal.upper}")
    return value
