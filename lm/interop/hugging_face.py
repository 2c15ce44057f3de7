"""Model folders of ours to Hugging Face ones and back. Two tables say which kinds there are."""

from collections.abc import Callable
from pathlib import Path

from lm.abilities import cannot_write
from lm.artifact import described, load_model, load_torch, save_model
from lm.interop.bert import export_bert, import_bert
from lm.interop.gpt2 import export_gpt2
from lm.interop.xlnet import export_xlnet, import_xlnet
from lm.models.bert import Bert
from lm.models.xlnet import XLNet


def _export_gpt(folder: Path, out: Path) -> None:
    export_gpt2(load_model(folder)[0], folder, out)


def _export_bert(folder: Path, out: Path) -> None:
    export_bert(load_torch(folder, Bert)[0], folder, out)


def _export_xlnet(folder: Path, out: Path) -> None:
    export_xlnet(load_torch(folder, XLNet)[0], folder, out)


EXPORT: dict[str, Callable[[Path, Path], None]] = {"gpt": _export_gpt, "bert": _export_bert, "xlnet": _export_xlnet}
"""How each kind is written; the others have no class there."""

IMPORT = {
    "gpt2": load_model,
    "openai-gpt": load_model,
    "bert": import_bert,
    "roberta": import_bert,
    "albert": import_bert,
    "xlnet": import_xlnet,
}
"""Model and tokenizer from a folder, by the `model_type` of its config.json."""


def export_hf(folder: Path, out: Path) -> None:
    """Write the model of `folder` as one that transformers' Auto classes load without Textmill.

    Raises ValueError for a kind or a size that no class there computes, FileNotFoundError if there is no model.
    """
    kind = described(folder).get("kind")
    if kind is None:
        raise ValueError(f"{folder} is a Hugging Face folder already")
    if kind not in EXPORT:
        raise ValueError(f"{folder}: {cannot_write(kind, 'hf')}")
    EXPORT[kind](folder, out)


def import_hf(folder: Path, out: Path) -> None:
    """Write the Hugging Face model of `folder` as one of ours.

    Raises ValueError for what none of our kinds computes, FileNotFoundError if there is no model.
    """
    config = described(folder)
    if "kind" in config:
        if any(folder.glob("*.onnx")):
            raise ValueError(f"{folder} was exported to ONNX, which is not read back: import what `--to hf` wrote")
        raise ValueError(f"{folder} is a model of ours already")
    if (theirs := config.get("model_type")) not in IMPORT:
        raise ValueError(f"{folder}: a model of type {theirs!r} is none of ours; {', '.join(IMPORT)} can be read")
    model, _ = IMPORT[theirs](folder)
    save_model(model, folder, out)
