"""`textmill export` and `textmill import`: models in the formats of others."""

from collections.abc import Callable
from pathlib import Path

from flows.loading import ConfigError


def _hf(folder: Path, out: Path) -> None:
    from lm.interop.hugging_face import export_hf

    export_hf(folder, out)


def _onnx(folder: Path, out: Path) -> None:
    from lm.interop.onnx import export_onnx

    export_onnx(folder, out)


TARGETS: dict[str, Callable[[Path, Path], None]] = {"hf": _hf, "onnx": _onnx}
"""(model folder, new folder) for each format."""


def export_model(folder: Path, target: str, out: Path) -> Path:
    """Write the model of `folder` to the folder `out` in the format `target`; returns `out`.

    Raises:
        ConfigError: no such format, nothing that this format can hold, or `out` is in use.
    """
    if target not in TARGETS:
        raise ConfigError(f"--to {target}: there is no such format; {', '.join(TARGETS)}")
    _converted(TARGETS[target], folder, out)
    return out


def import_model(folder: Path, out: Path) -> Path:
    """Write the Hugging Face model of `folder` to the folder `out` as one of ours; returns `out`.

    Raises:
        ConfigError: it is no model that we know, or `out` is in use.
    """
    from lm.interop.hugging_face import import_hf

    _converted(import_hf, folder, out)
    return out


def _converted(convert: Callable[[Path, Path], None], folder: Path, out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is in use: name a new or an empty folder")
    try:
        convert(folder, out)
    except (FileNotFoundError, ImportError, ValueError) as error:
        raise ConfigError(str(error)) from error
