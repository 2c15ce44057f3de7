"""Model folders: `model.safetensors`, `config.json` (with "kind"), `tokenizer.json`, `tokenizer_config.json`."""

import json
import os
from pathlib import Path

from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from lm.config import GPTConfig
from lm.interop.gpt2 import import_gpt2
from lm.models.gpt import GPT
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.tokenizer import copy_tokenizer, load_tokenizer

KIND = "gpt"
RECURRENT = "rnn"


def save_model(model: GPT | RNNLM, tokenizer_dir: Path, folder: Path) -> None:
    """Write a model folder with the tokenizer of `tokenizer_dir` (our own or a Hugging Face folder).

    Weights are stored as fp32 on the CPU would have them; a head that is the embedding is stored once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "model.safetensors.tmp"
    save_file({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}, partial)
    os.replace(partial, folder / "model.safetensors")
    described = {"kind": KIND if isinstance(model, GPT) else RECURRENT, **model.config.model_dump()}
    (folder / "config.json").write_text(json.dumps(described, indent=1) + "\n")
    copy_tokenizer(tokenizer_dir, folder)


def load_model(folder: Path) -> tuple[GPT, Tokenizer]:
    """The model (on the CPU, in eval mode) and tokenizer of our own folder or of a Hugging Face GPT-2 folder.

    Raises FileNotFoundError or ValueError saying what is missing or does not fit.
    """
    path = folder / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"{path}: no model there")
    config = json.loads(path.read_text())
    if "kind" not in config:
        model, tokenizer = import_gpt2(folder)
        return model.eval(), tokenizer
    if config.pop("kind") != KIND:
        raise ValueError(f"{path}: not a {KIND!r} model: {json.loads(path.read_text())['kind']!r}")
    model = GPT(GPTConfig(**config))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    tokenizer = load_tokenizer(folder)
    if tokenizer.get_vocab_size() > model.config.vocab:
        raise ValueError(
            f"{folder}: the tokenizer has {tokenizer.get_vocab_size()} tokens, the model {model.config.vocab}"
        )
    return model.eval(), tokenizer


def load_recurrent(folder: Path) -> tuple[RNNLM, Tokenizer]:
    """The recurrent model (on the CPU, in eval mode) and tokenizer of a folder that `save_model` wrote.

    Raises FileNotFoundError or ValueError saying what is missing or does not fit.
    """
    path = folder / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"{path}: no model there")
    config = json.loads(path.read_text())
    if (kind := config.pop("kind", None)) != RECURRENT:
        raise ValueError(f"{path}: not a {RECURRENT!r} model: {kind!r}")
    model = RNNLM(RNNConfig(**config))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval(), load_tokenizer(folder)
