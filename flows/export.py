"""`textmill export` and `textmill import`: models in the files of other programs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.loading import ConfigError
from flows.vectors import model_kind, open_vectors

Export = Callable[[Path, Path], None]
"""(model folder, folder to write to). Raises ValueError where the format cannot hold the model."""


def _arpa(folder: Path, out: Path) -> None:
    from lm.interop.arpa import write_arpa
    from lm.ngram.model import load_ngram

    write_arpa(load_ngram(folder), out / "model.arpa")


def _word2vec(folder: Path, out: Path) -> None:
    from lm.interop.word2vec import write_binary, write_text

    vectors = open_vectors(folder)
    write_text(vectors, out / "vectors.txt")
    write_binary(vectors, out / "vectors.bin")


def _hf(folder: Path, out: Path) -> None:
    from lm.interop.hugging_face import export_hf

    export_hf(folder, out)


def _onnx(folder: Path, out: Path) -> None:
    from lm.interop.onnx import export_onnx

    export_onnx(folder, out)


def _mlflow(folder: Path, out: Path) -> None:
    import mlflow

    from tasks.servable import servable

    mlflow.pyfunc.save_model(out, **servable(folder))


TARGETS: dict[str, tuple[tuple[str, ...], Export]] = {
    "hf": (("gpt", "bert", "xlnet"), _hf),
    "onnx": (("gpt", "modern"), _onnx),
    "arpa": (("ngram",), _arpa),
    "mlflow": (("finetuned",), _mlflow),
    "word2vec": (("word2vec", "glove"), _word2vec),
}
"""By the name of the target: the kinds of model that it can hold, and what writes it."""


def export_model(folder: Path, target: str, out: Path) -> dict[str, Any]:
    """Write a model to the new or empty folder `out`; returns model, kind, target and the files, with their bytes.

    Raises:
        ConfigError: no such target, a model that it cannot hold, or `out` is in use.
    """
    if target not in TARGETS:
        raise ConfigError(f"--to {target}: no such target; there are {', '.join(TARGETS)}")
    kind, (kinds, write) = model_kind(folder), TARGETS[target]
    if kind not in kinds:
        able = [name for name, (held, _) in TARGETS.items() if kind in held]
        instead = f"; --to {' or '.join(able)} can" if able else ""
        raise ConfigError(f"{folder}: {target} holds models of kind {' and '.join(kinds)}, not {kind!r}{instead}")
    _convert(write, folder, out)
    files = {str(path): path.stat().st_size for path in sorted(out.iterdir()) if path.is_file()}
    return {"model": str(folder), "kind": kind, "target": target, "files": files}


def import_model(folder: Path, out: Path) -> Path:
    """Write the Hugging Face model of `folder` to the new or empty folder `out` as one of ours; returns `out`.

    Raises:
        ConfigError: it is no model that we know, or `out` is in use.
    """
    from lm.interop.hugging_face import import_hf

    _convert(import_hf, folder, out)
    return out


def _convert(convert: Export, folder: Path, out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is in use: name a new or an empty folder")
    out.mkdir(parents=True, exist_ok=True)
    try:
        convert(folder, out)
    except (FileNotFoundError, ImportError, RuntimeError, ValueError) as error:
        if not any(out.iterdir()):
            out.rmdir()
        raise ConfigError(f"{folder}: {error}") from error
