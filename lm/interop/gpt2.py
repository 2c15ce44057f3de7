"""Hugging Face folders of GPT-1 and GPT-2: `model.safetensors`, `config.json`, `tokenizer.json`, both ways.

The weight maps are tables that import, export, activation diffs and tests share. Hugging Face keeps the original
`Conv1D` layout, so matrices are transposed; the head is the embedding and stored once.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from lm.damaged import naming, read_object
from lm.interop.folders import read_weights, write_json
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.tokenizer import TOKENIZER_FILE, chat_template, end_of_text_id, end_of_turn_id, load_tokenizer
from lm.weights import check_size, load_weights


class Row(NamedTuple):
    """One tensor under both names; `{}` is the layer."""

    ours: str
    theirs: str
    transpose: bool = False


BLOCK = (
    Row("blocks.{}.ln_1.weight", "h.{}.ln_1.weight"),
    Row("blocks.{}.ln_1.bias", "h.{}.ln_1.bias"),
    Row("blocks.{}.attention.qkv.weight", "h.{}.attn.c_attn.weight", transpose=True),
    Row("blocks.{}.attention.qkv.bias", "h.{}.attn.c_attn.bias"),
    Row("blocks.{}.attention.out.weight", "h.{}.attn.c_proj.weight", transpose=True),
    Row("blocks.{}.attention.out.bias", "h.{}.attn.c_proj.bias"),
    Row("blocks.{}.ln_2.weight", "h.{}.ln_2.weight"),
    Row("blocks.{}.ln_2.bias", "h.{}.ln_2.bias"),
    Row("blocks.{}.expand.weight", "h.{}.mlp.c_fc.weight", transpose=True),
    Row("blocks.{}.expand.bias", "h.{}.mlp.c_fc.bias"),
    Row("blocks.{}.contract.weight", "h.{}.mlp.c_proj.weight", transpose=True),
    Row("blocks.{}.contract.bias", "h.{}.mlp.c_proj.bias"),
)
WEIGHT_MAP = (
    Row("token_embedding.weight", "wte.weight"),
    Row("position_embedding.weight", "wpe.weight"),
    *BLOCK,
    Row("ln_f.weight", "ln_f.weight"),
    Row("ln_f.bias", "ln_f.bias"),
)
GPT1_WEIGHT_MAP = (
    Row("token_embedding.weight", "tokens_embed.weight"),
    Row("position_embedding.weight", "positions_embed.weight"),
    *BLOCK,
)
PREFIX = "transformer."
# Constant masks that old exports carry among the weights.
BUFFERS = (".attn.bias", ".attn.masked_bias", "position_ids")


class Format(NamedTuple):
    """How one of the two is written down there."""

    name: str
    model_type: str
    architecture: str
    weight_map: tuple[Row, ...]
    fixed: dict[str, Any]
    """What it is; a folder that says otherwise is another model under its name."""


GPT1 = Format(
    "GPT-1",
    "openai-gpt",
    "OpenAIGPTLMHeadModel",
    GPT1_WEIGHT_MAP,
    {"afn": "gelu", "tie_word_embeddings": True},  # their "gelu" of this model is the tanh form
)
GPT2 = Format(
    "GPT-2",
    "gpt2",
    "GPT2LMHeadModel",
    WEIGHT_MAP,
    {
        "activation_function": "gelu_new",
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
    },
)


def format_of(config: GPTConfig) -> Format:
    """The class there that computes the same.

    Raises ValueError for GPT-3, whose banded layers no class there has, and for heads of a width of their own.
    """
    if config.band is not None:
        raise ValueError(
            f"no Hugging Face class has layers that see a band of {config.band} positions: GPT-3 stays here"
        )
    if config.inner_width() != config.width:
        raise ValueError(
            f"{config.heads} heads of {config.head_width} are not the width of {config.width}, as they must be there"
        )
    return GPT1 if config.norm == "post" else GPT2


def weight_rows(config: GPTConfig) -> list[Row]:
    """The weight map of this model, a row for each layer."""
    return list(_rows(format_of(config).weight_map, config.layers))


def _rows(weight_map: tuple[Row, ...], layers: int) -> Iterator[Row]:
    for row in weight_map:
        if "{}" not in row.ours:
            yield row
        else:
            yield from (Row(row.ours.format(n), row.theirs.format(n), row.transpose) for n in range(layers))


def import_gpt2(folder: Path) -> tuple[GPT, Tokenizer]:
    """Our model (fp32) and the tokenizer of a Hugging Face folder of GPT-1 or GPT-2.

    Raises ValueError if the folder holds something else than these with a tokenizer of ours, or weights that are
    missing or left over; FileNotFoundError if there are no safetensors.
    """
    path = folder / "config.json"
    with naming(path):
        config = config_from_hugging_face(read_object(path), folder)
    theirs = {name.removeprefix(PREFIX): tensor for name, tensor in read_weights(folder).items()}
    check_size(config, theirs, path)
    model, name = GPT(config), format_of(config).name
    head = theirs.pop("lm_head.weight", None)
    state = {}
    rows = weight_rows(config)
    if head is not None and not torch.equal(head, theirs.get(rows[0].theirs, torch.empty(0))):
        raise ValueError(f"{folder}: its output head is not its embedding, so this is not {name}")
    for row in rows:
        if row.theirs not in theirs:
            raise ValueError(f"{folder}: the weights lack {row.theirs}")
        tensor = theirs.pop(row.theirs).float()
        state[row.ours] = tensor.T.contiguous() if row.transpose else tensor
    if extra := sorted(name for name in theirs if not name.endswith(BUFFERS)):
        raise ValueError(f"{folder}: weights that {name} does not have: {', '.join(extra[:5])}")
    load_weights(model, state, folder)
    return model, load_tokenizer(folder)


def export_gpt2(model: GPT, tokenizer_dir: Path, folder: Path) -> None:
    """Write a folder that `AutoModelForCausalLM` and `AutoTokenizer` load without Textmill, with the chat template if
    there is one; `generate` there then ends with a turn. Raises as `format_of`."""
    rows = weight_rows(model.config)
    folder.mkdir(parents=True, exist_ok=True)
    ours = model.state_dict()
    theirs = {
        PREFIX + row.theirs: (ours[row.ours].T if row.transpose else ours[row.ours]).detach().cpu().contiguous()
        for row in rows
    }
    save_file(theirs, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer = load_tokenizer(tokenizer_dir)
    end = end_of_text_id(tokenizer)
    write_json(folder / "config.json", config_to_hugging_face(model.config, end))
    shutil.copyfile(tokenizer_dir / TOKENIZER_FILE, folder / TOKENIZER_FILE)
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": tokenizer.id_to_token(end),
            "eos_token": tokenizer.id_to_token(end),
            "model_max_length": model.config.context,
            "clean_up_tokenization_spaces": False,
            **({} if (template := chat_template(tokenizer_dir)) is None else {"chat_template": template}),
        },
    )
    if (turn := end_of_turn_id(tokenizer)) is not None:
        write_json(folder / "generation_config.json", {"bos_token_id": end, "eos_token_id": [turn, end]})


def config_from_hugging_face(theirs: dict[str, Any], folder: Path) -> GPTConfig:
    """Our configuration from their `config.json`. Raises ValueError naming what is not GPT-1 or GPT-2 about it."""
    known = {each.model_type: each for each in (GPT1, GPT2)}
    if (there := known.get(theirs.get("model_type", ""))) is None:
        raise ValueError(f"{folder}: model_type is {theirs.get('model_type')!r}, not {' or '.join(map(repr, known))}")
    for key, value in there.fixed.items():
        if theirs.get(key, value) != value:
            raise ValueError(f"{folder}: {key} is {theirs[key]!r}; {there.name} has {value!r}")
    width = theirs.get("n_embd", 768)
    if theirs.get("n_inner") not in (None, 4 * width):
        raise ValueError(f"{folder}: n_inner is {theirs['n_inner']}; {there.name} has 4 * {width}")
    first = there is GPT1
    return GPTConfig(
        layers=theirs.get("n_layer", 12),
        width=width,
        heads=theirs.get("n_head", 12),
        context=theirs.get("n_positions", 512 if first else 1024),
        vocab=theirs.get("vocab_size", 40478 if first else 50257),
        dropout=theirs.get("resid_pdrop", 0.1),
        norm_epsilon=theirs.get("layer_norm_epsilon", 1e-5),
        norm="post" if first else "pre",
    )


def config_to_hugging_face(config: GPTConfig, end_of_text: int) -> dict[str, Any]:
    """Their `config.json` from our configuration. Raises as `format_of`."""
    there = format_of(config)
    return {
        "model_type": there.model_type,
        "architectures": [there.architecture],
        "n_layer": config.layers,
        "n_embd": config.width,
        "n_head": config.heads,
        "n_positions": config.context,
        "vocab_size": config.vocab,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "layer_norm_epsilon": config.norm_epsilon,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "torch_dtype": "float32",
        **there.fixed,
    }
