"""XLNets of Hugging Face `transformers`: `model.safetensors` and `config.json`, both ways.

The weight map is a table that import, export and tests share. Theirs keeps the matrices of attention as
[width, heads, head] and multiplies from the other side; the head is the embedding and stored once.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from lm.damaged import naming, read_object
from lm.interop.folders import read_weights, write_json
from lm.models.xlnet import XLNet
from lm.models.xlnet_config import XLNetConfig
from lm.tokenizer import TOKENIZER_FILE, end_of_text_id, load_tokenizer
from lm.weights import check_size, load_weights


class Row(NamedTuple):
    """One tensor under both names; `{}` is the layer. How theirs becomes ours:

    `same`; `into`: [width, heads, head] -> [heads * head, width]; `out`: [width, heads, head] -> [width, heads * head];
    `bias`: [heads, head] -> [heads, 1, head]; `mask`: [1, 1, width] -> [width].
    """

    ours: str
    theirs: str
    change: Literal["same", "into", "out", "bias", "mask"] = "same"


WEIGHT_MAP = (
    Row("token_embedding.weight", "transformer.word_embedding.weight"),
    Row("mask_embedding", "transformer.mask_emb", "mask"),
    Row("head_bias", "lm_loss.bias"),
    Row("layers.{}.attention.q.weight", "transformer.layer.{}.rel_attn.q", "into"),
    Row("layers.{}.attention.k.weight", "transformer.layer.{}.rel_attn.k", "into"),
    Row("layers.{}.attention.v.weight", "transformer.layer.{}.rel_attn.v", "into"),
    Row("layers.{}.attention.position.weight", "transformer.layer.{}.rel_attn.r", "into"),
    Row("layers.{}.attention.out.weight", "transformer.layer.{}.rel_attn.o", "out"),
    Row("layers.{}.attention.content_bias", "transformer.layer.{}.rel_attn.r_w_bias", "bias"),
    Row("layers.{}.attention.position_bias", "transformer.layer.{}.rel_attn.r_r_bias", "bias"),
    Row("layers.{}.attention.segment_bias", "transformer.layer.{}.rel_attn.r_s_bias", "bias"),
    Row("layers.{}.attention.segments", "transformer.layer.{}.rel_attn.seg_embed"),
    Row("layers.{}.ln_1.weight", "transformer.layer.{}.rel_attn.layer_norm.weight"),
    Row("layers.{}.ln_1.bias", "transformer.layer.{}.rel_attn.layer_norm.bias"),
    Row("layers.{}.expand.weight", "transformer.layer.{}.ff.layer_1.weight"),
    Row("layers.{}.expand.bias", "transformer.layer.{}.ff.layer_1.bias"),
    Row("layers.{}.contract.weight", "transformer.layer.{}.ff.layer_2.weight"),
    Row("layers.{}.contract.bias", "transformer.layer.{}.ff.layer_2.bias"),
    Row("layers.{}.ln_2.weight", "transformer.layer.{}.ff.layer_norm.weight"),
    Row("layers.{}.ln_2.bias", "transformer.layer.{}.ff.layer_norm.bias"),
)
HEAD = "lm_loss.weight"
# What our XLNet is; a folder that says otherwise is another model under its name.
FIXED = {
    "ff_activation": "gelu",
    "attn_type": "bi",
    "bi_data": False,
    "same_length": False,
    "tie_word_embeddings": True,
}


def rows(layers: int) -> Iterator[Row]:
    """The table for a model of so many layers."""
    for row in WEIGHT_MAP:
        if "{}" not in row.ours:
            yield row
        else:
            yield from (Row(row.ours.format(n), row.theirs.format(n), row.change) for n in range(layers))


def to_ours(row: Row, tensor: Tensor) -> Tensor:
    """Their tensor in our layout."""
    if row.change == "into":
        return tensor.flatten(1).T.contiguous()
    if row.change == "out":
        return tensor.flatten(1).contiguous()
    if row.change == "bias":
        return tensor[:, None].contiguous()
    return tensor.flatten().contiguous() if row.change == "mask" else tensor


def to_theirs(row: Row, tensor: Tensor, heads: int) -> Tensor:
    """Our tensor in their layout."""
    if row.change == "into":
        return tensor.T.unflatten(1, (heads, -1)).contiguous()
    if row.change == "out":
        return tensor.unflatten(1, (heads, -1)).contiguous()
    if row.change == "bias":
        return tensor[:, 0].contiguous()
    return tensor[None, None].contiguous() if row.change == "mask" else tensor.contiguous()


def state_from_hugging_face(theirs: Mapping[str, Tensor], config: XLNetConfig, where: object) -> dict[str, Tensor]:
    """Our state dict (in their precision) from theirs. Raises ValueError naming weights that lack or are left over."""
    left = dict(theirs)
    embedding = left.get("transformer.word_embedding.weight", torch.empty(0))
    head = left.pop(HEAD, None)
    if head is not None and not torch.equal(head, embedding):
        raise ValueError(f"{where}: its output head is not its embedding, which this XLNet has not")
    state = {}
    for row in rows(config.layers):
        if row.theirs not in left:
            raise ValueError(f"{where}: the weights lack {row.theirs}")
        state[row.ours] = to_ours(row, left.pop(row.theirs))
    if left:
        raise ValueError(f"{where}: weights that XLNet does not have: {', '.join(sorted(left)[:5])}")
    return state


def state_to_hugging_face(model: XLNet) -> dict[str, Tensor]:
    """Their state dict from our model; the head, which is the embedding, is left out."""
    ours, heads = model.state_dict(), model.config.heads
    return {row.theirs: to_theirs(row, ours[row.ours].detach().cpu(), heads) for row in rows(model.config.layers)}


def import_xlnet(folder: Path) -> tuple[XLNet, Tokenizer]:
    """Our model (fp32) and the tokenizer of a folder that transformers' `XLNetLMHeadModel` reads.

    Raises ValueError if it holds something else, FileNotFoundError if there are no safetensors.
    """
    path = folder / "config.json"
    with naming(path):
        config = config_from_hugging_face(read_object(path), folder)
    theirs = {name: tensor.float() for name, tensor in read_weights(folder).items()}
    check_size(config, theirs, path)
    model = XLNet(config)
    load_weights(model, state_from_hugging_face(theirs, config, folder), folder)
    return model, load_tokenizer(folder)


def export_xlnet(model: XLNet, tokenizer_dir: Path, folder: Path) -> None:
    """Write a folder that `AutoModelForCausalLM` and `AutoTokenizer` load without Textmill."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state_to_hugging_face(model), folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer = load_tokenizer(tokenizer_dir)
    end = end_of_text_id(tokenizer)
    write_json(folder / "config.json", config_to_hugging_face(model.config, end))
    shutil.copyfile(tokenizer_dir / TOKENIZER_FILE, folder / TOKENIZER_FILE)
    token = tokenizer.id_to_token(end)
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": token, "eos_token": token}
    write_json(folder / "tokenizer_config.json", {**described, "clean_up_tokenization_spaces": False})


def config_from_hugging_face(theirs: dict[str, Any], where: object) -> XLNetConfig:
    """Our configuration from their `config.json`. Raises ValueError naming what is not our XLNet about it."""
    if theirs.get("model_type") != "xlnet":
        raise ValueError(f"{where}: model_type is {theirs.get('model_type')!r}, not 'xlnet'")
    for key, value in FIXED.items():
        if theirs.get(key, value) != value:
            raise ValueError(f"{where}: {key} is {theirs[key]!r}; this XLNet has {value!r}")
    return XLNetConfig(
        layers=theirs.get("n_layer", 24),
        width=theirs.get("d_model", 1024),
        heads=theirs.get("n_head", 16),
        inner=theirs.get("d_inner", 4096),
        memory=theirs.get("mem_len") or 0,
        vocab=theirs.get("vocab_size", 32_000),
        dropout=theirs.get("dropout", 0.1),
        clamp=max(0, theirs.get("clamp_len", -1)),
        norm_epsilon=theirs.get("layer_norm_eps", 1e-12),
    )


def config_to_hugging_face(config: XLNetConfig, end_of_text: int) -> dict[str, Any]:
    """Their `config.json` from our configuration. Without a memory of ours, theirs is off: theirs has no size 0."""
    return {
        "model_type": "xlnet",
        "architectures": ["XLNetLMHeadModel"],
        "n_layer": config.layers,
        "d_model": config.width,
        "n_head": config.heads,
        "d_inner": config.inner,
        "vocab_size": config.vocab,
        "dropout": config.dropout,
        "layer_norm_eps": config.norm_epsilon,
        "clamp_len": config.clamp or -1,
        "mem_len": config.memory or None,
        "use_mems_eval": bool(config.memory),
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "pad_token_id": end_of_text,
        "torch_dtype": "float32",
        **FIXED,
    }
