"""Model folders of ours to Hugging Face ones and back. A table says which kinds there are."""

from collections.abc import Callable
from pathlib import Path

from lm.artifact import described, load_model, save_model
from lm.interop.gpt2 import export_gpt2


def _export_gpt(folder: Path, out: Path) -> None:
    model, _ = load_model(folder)
    export_gpt2(model, folder, out)


EXPORT: dict[str, Callable[[Path, Path], None]] = {"gpt": _export_gpt}
"""How each kind is written; the others have no class there."""


def export_hf(folder: Path, out: Path) -> None:
    """Write the model of `folder` as one that transformers' Auto classes load without Textmill.

    Raises ValueError for a kind or a size that no class there computes, FileNotFoundError if there is no model.
    """
    kind = described(folder).get("kind")
    if kind is None:
        raise ValueError(f"{folder} is a Hugging Face folder already")
    if kind not in EXPORT:
        raise ValueError(
            f"{folder}: no Hugging Face class computes a model of kind {kind!r}; {', '.join(EXPORT)} can go"
        )
    EXPORT[kind](folder, out)


def import_hf(folder: Path, out: Path) -> None:
    """Write the Hugging Face model of `folder` as one of ours.

    Raises ValueError for what none of our kinds computes, FileNotFoundError if there is no model.
    """
    if "kind" in described(folder):
        raise ValueError(f"{folder} is a model of ours already")
    model, _ = load_model(folder)
    save_model(model, folder, out)
