"""Model folders: `model.safetensors`, `config.json` (with "kind"), `tokenizer.json`, `tokenizer_config.json`."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from lm.config import StrictModel
from lm.damaged import DamagedFile, read_object, validated
from lm.interop.gpt2 import import_gpt2
from lm.models.bert import Bert
from lm.models.bert_config import BertConfig
from lm.models.elmo import ELMo
from lm.models.elmo_config import ELMoConfig
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.modern import Modern
from lm.models.modern_config import ModernConfig
from lm.models.nnlm import NNLM
from lm.models.nnlm_config import NNLMConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.models.transformer_xl import TransformerXL
from lm.models.transformer_xl_config import TransformerXLConfig
from lm.models.xlnet import XLNet
from lm.models.xlnet_config import XLNetConfig
from lm.tokenizer import copy_tokenizer, load_tokenizer
from lm.tokens import tokenizer_sha256
from lm.weights import check_size, load_weights, read_weights

Model = TypeVar("Model", bound=nn.Module)

CONFIGS: dict[type[nn.Module], type[StrictModel]] = {
    GPT: GPTConfig,
    RNNLM: RNNConfig,
    NNLM: NNLMConfig,
    ELMo: ELMoConfig,
    TransformerXL: TransformerXLConfig,
    XLNet: XLNetConfig,
    Bert: BertConfig,
    Modern: ModernConfig,
}
"""The configuration of each model that has tensors; its `kind` is what a folder says it is."""


def save_model(model: nn.Module, tokenizer_dir: Path, folder: Path) -> None:
    """Write a model folder with the tokenizer of `tokenizer_dir` (our own or a Hugging Face folder).

    Weights are stored as fp32 on the CPU would have them; a head that is the embedding is stored once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "model.safetensors.tmp"
    save_file({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}, partial)
    os.replace(partial, folder / "model.safetensors")
    assert isinstance(model.config, StrictModel)
    (folder / "config.json").write_text(json.dumps(model.config.model_dump(mode="json"), indent=1) + "\n")
    copy_tokenizer(tokenizer_dir, folder)


def described(folder: Path) -> dict[str, Any]:
    """What config.json of a model folder says, ours or a Hugging Face one (which has no "kind").

    Raises FileNotFoundError if there is none, DamagedFile if it is no JSON.
    """
    path = folder / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"{path}: no model there")
    return read_object(path)


def load_torch(folder: Path, of: type[Model]) -> tuple[Model, Tokenizer]:
    """The model (on the CPU, in eval mode) and tokenizer of a folder that `save_model` wrote.

    Raises FileNotFoundError or ValueError saying what is missing or does not fit.
    """
    config, settings = described(folder), CONFIGS[of]
    expected = settings.model_fields["kind"].default
    if (kind := config.get("kind")) != expected:
        raise ValueError(f"{folder / 'config.json'}: not a {expected!r} model: {kind!r}")
    values = validated(settings, config, folder / "config.json")
    weights = read_weights(folder / "model.safetensors")
    check_size(values, weights, folder / "config.json")  # type: ignore[arg-type]
    model = of(values)
    load_weights(model, weights, folder / "model.safetensors")
    tokenizer = load_tokenizer(folder)
    if tokenizer.get_vocab_size() > (vocab := getattr(model.config, "vocab")):  # noqa: B009
        raise DamagedFile(f"{folder}: the tokenizer has {tokenizer.get_vocab_size()} tokens, the model {vocab}")
    return model.eval(), tokenizer


def load_model(folder: Path) -> tuple[GPT, Tokenizer]:
    """A GPT, as `load_torch` gives it, also from a Hugging Face GPT-2 folder."""
    if "kind" in described(folder):
        return load_torch(folder, GPT)
    model, tokenizer = import_gpt2(folder)
    return model.eval(), tokenizer


def weights_sha256(folder: Path) -> str:
    """The identity of a model folder's weights, ours or a Hugging Face one's, whatever its files are called."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def initial_weights(folder: Path, config: Any, tokenizer_dir: Path) -> dict[str, Tensor]:
    """The weights of a model folder, for a model of that configuration to go on from.

    Raises ValueError if it is another model (dropout and how a state is computed aside) or has another tokenizer.
    """
    [of] = [model for model, settings in CONFIGS.items() if isinstance(config, settings)]
    loaded = load_model(folder)[0] if of is GPT else load_torch(folder, of)[0]
    assert isinstance(loaded.config, StrictModel)
    ours, theirs = config.model_dump(), loaded.config.model_dump()
    shaping = [name for name in ours if "dropout" not in name and name not in ("reset_token", "path")]
    if different := [f"{k} {theirs[k]} is not {ours[k]}" for k in shaping if ours[k] != theirs[k]]:
        raise ValueError(f"{folder} is another model than the configured one: {', '.join(different)}")
    if tokenizer_sha256(folder) != tokenizer_sha256(tokenizer_dir):
        raise ValueError(f"{folder} has another tokenizer than {tokenizer_dir}: tokenize the text with its own")
    return loaded.state_dict()
