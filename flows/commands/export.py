"""`textmill export` and `textmill import`: models in the files of other programs."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.commands.card import card_for_export
from flows.commands.vectors import model_kind, open_vectors
from flows.config.loading import ConfigError
from lm.abilities import TARGETS, cannot_write, held
from tasks.storage.disk import room_on_disk
from tasks.storage.exports import note_export, stored

Export = Callable[[Path, Path], None]
"""(model folder, folder to write to). Raises ValueError where the format cannot hold the model."""


def _arpa(folder: Path, out: Path) -> None:
    from lm.interop.arpa import write_arpa
    from lm.ngram.model import load_ngram

    write_arpa(load_ngram(folder), out / "model.arpa")
    _with_tokenizer(folder, out)


def _word2vec(folder: Path, out: Path) -> None:
    from lm.interop.word2vec import write_binary, write_text

    vectors = open_vectors(folder)
    write_text(vectors, out / "vectors.txt")
    write_binary(vectors, out / "vectors.bin")
    _with_tokenizer(folder, out)


def _with_tokenizer(folder: Path, out: Path) -> None:
    """Others need none, but `textmill import` knows by it that these words are tokens."""
    from lm.tokenizer import TOKENIZER_FILE, copy_tokenizer

    if (folder / TOKENIZER_FILE).exists():
        copy_tokenizer(folder, out)


def _hf(folder: Path, out: Path) -> None:
    from lm.interop.hugging_face import export_hf

    export_hf(folder, out)


def _onnx(folder: Path, out: Path) -> None:
    from lm.interop.onnx import export_onnx

    export_onnx(folder, out)


def _mlflow(folder: Path, out: Path) -> None:
    import mlflow

    from tasks.tracking.servable import servable

    mlflow.pyfunc.save_model(out, **servable(folder))


WRITE: dict[str, Export] = {"hf": _hf, "onnx": _onnx, "arpa": _arpa, "word2vec": _word2vec, "mlflow": _mlflow}
"""What writes each target of `lm.abilities.TARGETS`."""


def export_model(folder: Path, target: str, out: Path) -> dict[str, Any]:
    """Write a model to the new or empty folder `out`; returns model, kind, target and the files, with their bytes.

    Raises:
        ConfigError: no such target, a model that it cannot hold, or `out` is in use.
        DiskFull: there is no room; `out` is as it was.
    """
    if target not in WRITE:
        raise ConfigError(f"--to {target}: no such target; there are {', '.join(TARGETS)}")
    kind = model_kind(folder)
    if kind not in held(target):
        raise ConfigError(f"{folder}: {cannot_write(kind, target)}")

    def write(source: Path, to: Path) -> None:
        WRITE[target](source, to)
        card_for_export(source, to)

    with room_on_disk("the export", out.resolve().parent):
        _convert(write, folder, out)
        if (here := stored(folder)) is not None:
            note_export(*here, target, str(out.resolve()))
    files = {str(path): path.stat().st_size for path in sorted(out.rglob("*")) if path.is_file()}
    return {"model": str(folder), "kind": kind, "target": target, "files": files}


def import_model(source: Path, out: Path) -> Path:
    """Write the model of another program's file or folder to the new or empty folder `out` as one of ours; returns
    `out`.

    Raises:
        ConfigError: it is no model that we know, or `out` is in use.
        DiskFull: there is no room; `out` is as it was.
    """
    from lm.interop import imports

    with room_on_disk("the import", out.resolve().parent):
        _convert(imports.import_model, source, out)
    return out


def _convert(convert: Export, source: Path, out: Path) -> None:
    """A new `out` is there when it is complete, and not before; one that is there stays empty till then."""
    place = out.resolve()
    partial = place.with_name(f"{place.name}.partial")
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{out} is in use: name a new or an empty folder")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"{out} cannot be made ({error.strerror}): name a folder in a place to write to") from error
    try:
        convert(source, partial)
        if out.exists():
            for path in list(partial.iterdir()):
                os.replace(path, out / path.name)
        else:
            os.replace(partial, out)
    except (OSError, ImportError, RuntimeError, ValueError) as error:
        message = str(error)
        raise ConfigError(message if message.startswith(str(source)) else f"{source}: {message}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
