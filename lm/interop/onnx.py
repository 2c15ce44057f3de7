"""ONNX: models as graphs that onnxruntime runs without Textmill. `lm.interop.onnx_graphs` says what each kind is.

Needs the extra `onnx` (onnx, onnxscript to write; onnxruntime to check).
"""

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lm.interop.onnx_graph import BATCH, GRAPH, Graph, Sizes
from lm.interop.onnx_graphs import graphs_of
from lm.tokenizer import TOKENIZER_FILE, copy_tokenizer

OPSET = 20
TOLERANCE = 1e-4
EXAMPLE, BATCHES, LENGTHS = 8, (1, 3, 2), (1, 5, 150)
"""Of the free axes: the size that a graph is traced with, and those that it is checked with."""


def export_onnx(folder: Path, out: Path) -> None:
    """Write the graphs of a model folder to `out` with its configuration and tokenizers, and check what they give
    against the model with onnxruntime. Batch and lengths are free.

    Raises ImportError without the extra, ValueError for a kind that has no graph, RuntimeError if a graph says
    something else than the model.
    """
    if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]:
        raise ImportError(f"{', '.join(missing)}: not installed; `pip install -e '.[onnx]'`")
    graphs = graphs_of(folder)
    out.mkdir(parents=True, exist_ok=True)
    for graph in graphs:
        _write(graph, out / graph.file)
        if (largest := graph_difference(graph, out)) > TOLERANCE:
            (out / graph.file).unlink()
            raise RuntimeError(f"{folder}: as ONNX it would be up to {largest:.2g} off the model: not written")
    for tokenizer in (folder, folder / "source", folder / "target"):
        if (tokenizer / TOKENIZER_FILE).exists():
            copy_tokenizer(tokenizer, out / tokenizer.relative_to(folder))
    (out / "config.json").write_bytes((folder / "config.json").read_bytes())


def _write(graph: Graph, path: Path) -> None:
    axes = {axis for each in graph.inputs for axis in each.shape if isinstance(axis, str)}
    dims = {axis: torch.export.Dim(axis, min=1, max=graph.longest.get(axis)) for axis in axes}
    free = [{place: dims[a] for place, a in enumerate(each.shape) if isinstance(a, str)} for each in graph.inputs]
    sizes = {axis: min(EXAMPLE, graph.longest.get(axis, EXAMPLE)) for axis in axes} | {BATCH: 2}
    with _quiet():
        torch.onnx.export(
            graph.module,
            _arguments(graph, graph.draw(sizes, torch.Generator().manual_seed(0))),
            path,
            dynamo=True,
            opset_version=OPSET,
            input_names=[each.name for each in graph.inputs],
            output_names=list(graph.outputs),
            dynamic_shapes=_arguments(graph, free),
            external_data=False,
            verbose=False,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says of packages that it misses, of axes with one name, and of its own deprecations."""
    log = logging.getLogger("torch.onnx")
    was = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(was)


def _arguments(graph: Graph, each: Any) -> tuple[Any, ...]:
    """What the module is called with: tensors one by one, but states together."""
    loose = [value for value, given in zip(each, graph.inputs, strict=True) if not given.is_state]
    states = tuple(value for value, given in zip(each, graph.inputs, strict=True) if given.is_state)
    return (*loose, states) if states else tuple(loose)


def graph_difference(graph: Graph, folder: Path) -> float:
    """The largest difference of any output on random inputs of several sizes, relative to the largest value or 1."""
    session, worst = onnx_session(folder, graph.file), 0.0
    for sizes, generator in _several(graph):
        inputs = graph.draw(sizes, generator)
        with torch.no_grad():
            expected = graph.module(*_arguments(graph, inputs))
        got = session.run(None, {given.name: x.numpy() for given, x in zip(graph.inputs, inputs, strict=True)})
        expected = (expected,) if isinstance(expected, Tensor) else expected
        for a, b in zip(got, (x.numpy() for x in expected), strict=True):
            worst = max(worst, float(np.abs(a - b).max()) / max(1.0, float(np.abs(b).max())))
    return worst


def _several(graph: Graph) -> Iterator[tuple[Sizes, torch.Generator]]:
    generator = torch.Generator().manual_seed(0)
    axes = sorted({axis for each in graph.inputs for axis in each.shape if isinstance(axis, str)})
    for number, batch in enumerate(BATCHES):
        lengths = {
            axis: min(LENGTHS[(number + place) % len(LENGTHS)], graph.longest.get(axis, LENGTHS[-1]))
            for place, axis in enumerate(axes)
        }
        yield lengths | {BATCH: batch}, generator


def onnx_session(folder: Path, file: str = GRAPH) -> Any:
    """onnxruntime's session of a graph of an exported folder, on the CPU."""
    import onnxruntime

    return onnxruntime.InferenceSession(str(folder / file), providers=["CPUExecutionProvider"])
