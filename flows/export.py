"""`textmill export`: a model in the files of other programs; a function for each target, by its name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.loading import ConfigError
from flows.vectors import model_kind, open_vectors

Export = Callable[[Path, Path], list[Path]]
"""(model folder, folder to write to) -> the files written. Raises ValueError where the format cannot hold the model."""


def _arpa(folder: Path, out: Path) -> list[Path]:
    from lm.interop.arpa import write_arpa
    from lm.ngram.model import load_ngram

    write_arpa(load_ngram(folder), out / "model.arpa")
    return [out / "model.arpa"]


def _word2vec(folder: Path, out: Path) -> list[Path]:
    from lm.interop.word2vec import write_binary, write_text

    vectors = open_vectors(folder)
    write_text(vectors, out / "vectors.txt")
    write_binary(vectors, out / "vectors.bin")
    return [out / "vectors.txt", out / "vectors.bin"]


TARGETS: dict[str, tuple[tuple[str, ...], Export]] = {
    "arpa": (("ngram",), _arpa),
    "word2vec": (("word2vec", "glove"), _word2vec),
}
"""By the name of the target: the kinds of model that it can hold, and what writes it."""


def export_model(folder: Path, target: str, out: Path) -> dict[str, Any]:
    """Write a model to the folder `out`; returns model, kind, target and the files, with their sizes in bytes.

    Raises:
        ConfigError: no such target, or a model that it cannot hold.
    """
    if target not in TARGETS:
        raise ConfigError(f"--to {target}: no such target; there are {', '.join(TARGETS)}")
    kind, (kinds, write) = model_kind(folder), TARGETS[target]
    if kind not in kinds:
        able = [name for name, (held, _) in TARGETS.items() if kind in held]
        instead = f"; --to {' or '.join(able)} can" if able else ""
        raise ConfigError(f"{folder}: {target} holds models of kind {' and '.join(kinds)}, not {kind!r}{instead}")
    out.mkdir(parents=True, exist_ok=True)
    try:
        files = write(folder, out)
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(f"{folder}: {error}") from error
    return {
        "model": str(folder),
        "kind": kind,
        "target": target,
        "files": {str(path): path.stat().st_size for path in files},
    }
