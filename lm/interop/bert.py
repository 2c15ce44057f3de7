"""Hugging Face folders of BERT, RoBERTa and ALBERT: `model.safetensors`, `config.json`, `tokenizer.json`, both ways.

The weight maps are tables that import, export and tests share. Hugging Face keeps query, key and value apart, where we
have one matrix; the decoder is the embedding and stored once. A span boundary head has no place there and is left out.
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
from lm.models.bert import Bert
from lm.models.bert_config import BertConfig
from lm.special_tokens import special_tokens
from lm.tokenizer import TOKENIZER_FILE, load_tokenizer
from lm.weights import check_size, load_weights


class Row(NamedTuple):
    """One tensor of ours and what it is theirs, one below the other; `{}` is the layer."""

    ours: str
    theirs: tuple[str, ...]


def _both(ours: str, *theirs: str) -> tuple[Row, Row]:
    """A module's weight and bias."""
    return (
        Row(f"{ours}.weight", tuple(f"{name}.weight" for name in theirs)),
        Row(f"{ours}.bias", tuple(f"{name}.bias" for name in theirs)),
    )


def _embeddings(prefix: str) -> tuple[Row, ...]:
    return (
        Row("token_embedding.weight", (f"{prefix}.word_embeddings.weight",)),
        Row("position_embedding.weight", (f"{prefix}.position_embeddings.weight",)),
        Row("segment_embedding.weight", (f"{prefix}.token_type_embeddings.weight",)),
        *_both("embedding_norm", f"{prefix}.LayerNorm"),
    )


def _layers(prefix: str) -> tuple[Row, ...]:
    attention = f"{prefix}.attention.self"
    return (
        *_both("blocks.{}.attention.qkv", *(f"{attention}.{name}" for name in ("query", "key", "value"))),
        *_both("blocks.{}.attention.out", f"{prefix}.attention.output.dense"),
        *_both("blocks.{}.ln_1", f"{prefix}.attention.output.LayerNorm"),
        *_both("blocks.{}.expand", f"{prefix}.intermediate.dense"),
        *_both("blocks.{}.contract", f"{prefix}.output.dense"),
        *_both("blocks.{}.ln_2", f"{prefix}.output.LayerNorm"),
    )


ALBERT_LAYER = "albert.encoder.albert_layer_groups.0.albert_layers.0"
WEIGHT_MAPS: dict[str, tuple[Row, ...]] = {
    "bert": (
        *_embeddings("bert.embeddings"),
        *_layers("bert.encoder.layer.{}"),
        *_both("transform.dense", "cls.predictions.transform.dense"),
        *_both("transform.norm", "cls.predictions.transform.LayerNorm"),
        Row("bias", ("cls.predictions.bias",)),
        *_both("pair_head.pooler", "bert.pooler.dense"),
        *_both("pair_head.classes", "cls.seq_relationship"),
    ),
    "roberta": (
        *_embeddings("roberta.embeddings"),
        *_layers("roberta.encoder.layer.{}"),
        *_both("transform.dense", "lm_head.dense"),
        *_both("transform.norm", "lm_head.layer_norm"),
        Row("bias", ("lm_head.bias",)),
    ),
    "albert": (
        *_embeddings("albert.embeddings"),
        *_both("widen", "albert.encoder.embedding_hidden_mapping_in"),
        *_both("blocks.{}.attention.qkv", *(f"{ALBERT_LAYER}.attention.{name}" for name in ("query", "key", "value"))),
        *_both("blocks.{}.attention.out", f"{ALBERT_LAYER}.attention.dense"),
        *_both("blocks.{}.ln_1", f"{ALBERT_LAYER}.attention.LayerNorm"),
        *_both("blocks.{}.expand", f"{ALBERT_LAYER}.ffn"),
        *_both("blocks.{}.contract", f"{ALBERT_LAYER}.ffn_output"),
        *_both("blocks.{}.ln_2", f"{ALBERT_LAYER}.full_layer_layer_norm"),
        *_both("transform.dense", "predictions.dense"),
        *_both("transform.norm", "predictions.LayerNorm"),
        Row("bias", ("predictions.bias",)),
        *_both("pair_head.pooler", "albert.pooler"),
        *_both("pair_head.classes", "sop_classifier.classifier"),
    ),
}
ARCHITECTURES = {
    ("bert", True): "BertForPreTraining",
    ("bert", False): "BertForMaskedLM",
    ("roberta", False): "RobertaForMaskedLM",
    ("albert", True): "AlbertForPreTraining",
    ("albert", False): "AlbertForMaskedLM",
}
# Copies of tied weights, and constants, that exports carry among the weights.
COPIES = ("decoder.weight", "decoder.bias", "position_ids", "token_type_ids")
UNUSED_POOLERS = ("bert.pooler.dense", "roberta.pooler.dense", "albert.pooler")
ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new"}


def family(config: BertConfig) -> str:
    """Which of their models a configuration is. Raises ValueError if it mixes several."""
    albert = config.embedding is not None, config.shared_layers
    roberta = config.position_offset > 0
    if all(albert) and not roberta:
        return "albert"
    if any(albert) or (roberta and config.pair_head):
        raise ValueError(
            "Hugging Face has no model with these settings: embedding and shared_layers go together (ALBERT), a"
            " position_offset (RoBERTa) goes with neither them nor a pair_head"
        )
    return "roberta" if roberta else "bert"


def rows(config: BertConfig) -> Iterator[Row]:
    """The weight map of a configuration, layer by layer, without heads that it does not have."""
    for row in WEIGHT_MAPS[family(config)]:
        if row.ours.startswith("pair_head.") and not config.pair_head:
            continue
        if "{}" not in row.ours:
            yield row
            continue
        for layer in range(1 if config.shared_layers else config.layers):
            yield Row(row.ours.format(layer), tuple(name.format(layer) for name in row.theirs))


def import_bert(folder: Path) -> tuple[Bert, Tokenizer]:
    """Our model (fp32) and the tokenizer of a Hugging Face folder of BERT, RoBERTa or ALBERT.

    Raises ValueError if the folder holds something else, or weights that are missing or left over; FileNotFoundError
    if there are no safetensors.
    """
    theirs = {_old_name(name): tensor for name, tensor in read_weights(folder).items()}
    path = folder / "config.json"
    described = read_object(path)
    with naming(path):
        config = config_from_hugging_face(described, _has_pair_head(theirs), folder)
    check_size(config, theirs, path)
    model, state = Bert(config), {}
    for row in rows(config):
        if missing := [name for name in row.theirs if name not in theirs]:
            raise ValueError(f"{folder}: the weights lack {missing[0]}")
        state[row.ours] = torch.cat([theirs.pop(name).float() for name in row.theirs])
    for name in [name for name in theirs if name.endswith("decoder.weight")]:
        if not torch.equal(theirs[name].float(), state["token_embedding.weight"]):
            raise ValueError(f"{folder}: its decoder is not its embedding, so this is not {described['model_type']}")
    if extra := sorted(n for n in theirs if not n.endswith(COPIES) and not n.startswith(UNUSED_POOLERS)):
        raise ValueError(f"{folder}: weights that {described['model_type']} does not have: {', '.join(extra[:5])}")
    load_weights(model, state, folder)
    return model, load_tokenizer(folder)


def _old_name(name: str) -> str:
    """Early exports call scale and shift of a layer norm gamma and beta."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _has_pair_head(theirs: dict[str, torch.Tensor]) -> bool:
    return any(name.startswith(("cls.seq_relationship", "sop_classifier")) for name in theirs)


def export_bert(model: Bert, tokenizer_dir: Path, folder: Path) -> None:
    """Write a folder that `AutoModelForPreTraining`, `AutoModelForMaskedLM` and `AutoTokenizer` load without Textmill.

    Raises ValueError if Hugging Face has no such model, or the tokenizer no [MASK].
    """
    config, ours = model.config, model.state_dict()
    tokenizer = load_tokenizer(tokenizer_dir)
    special = special_tokens(tokenizer)
    theirs: dict[str, torch.Tensor] = {}
    for row in rows(config):
        parts = ours[row.ours].detach().cpu().chunk(len(row.theirs))
        theirs |= {name: part.contiguous().clone() for name, part in zip(row.theirs, parts, strict=True)}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(theirs, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", config_to_hugging_face(config, special.pad))
    shutil.copyfile(tokenizer_dir / TOKENIZER_FILE, folder / TOKENIZER_FILE)
    roles = {"cls_token": special.cls, "sep_token": special.sep, "pad_token": special.pad, "mask_token": special.mask}
    named = {role: tokenizer.id_to_token(token) for role, token in roles.items()}
    unknown = {"unk_token": "[UNK]"} if tokenizer.token_to_id("[UNK]") is not None else {}
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **named,
            **unknown,
            "model_max_length": config.context,
            "clean_up_tokenization_spaces": False,
        },
    )


def config_from_hugging_face(theirs: dict[str, Any], pair_head: bool, folder: Path) -> BertConfig:
    """Our configuration from their `config.json`. Raises ValueError naming what is none of the three about it."""
    kind = theirs.get("model_type")
    if kind not in WEIGHT_MAPS:
        raise ValueError(f"{folder}: model_type is {kind!r}, none of {', '.join(WEIGHT_MAPS)}")
    albert, roberta = kind == "albert", kind == "roberta"
    activation = theirs.get("hidden_act", "gelu_new" if albert else "gelu")
    known = {name: ours for ours, name in ACTIVATIONS.items()} | {"gelu_pytorch_tanh": "gelu_tanh"}
    fixed = {"position_embedding_type": "absolute", "is_decoder": False, "num_hidden_groups": 1, "inner_group_num": 1}
    for key, value in {**fixed, "tie_word_embeddings": True}.items():
        if theirs.get(key, value) != value:
            raise ValueError(f"{folder}: {key} is {theirs[key]!r}; {kind} has {value!r}")
    if activation not in known:
        raise ValueError(f"{folder}: hidden_act is {activation!r}; known are {', '.join(known)}")
    offset = theirs.get("pad_token_id", 1) + 1 if roberta else 0
    return BertConfig(
        layers=theirs.get("num_hidden_layers", 12),
        width=theirs.get("hidden_size", 768),
        heads=theirs.get("num_attention_heads", 12),
        feed_forward=theirs.get("intermediate_size", 3072),
        context=theirs.get("max_position_embeddings", 512) - offset,
        vocab=theirs.get("vocab_size", 30522),
        segments=theirs.get("type_vocab_size", 2),
        embedding=theirs.get("embedding_size", 128) if albert else None,
        shared_layers=albert,
        activation="gelu" if known[activation] == "gelu" else "gelu_tanh",
        position_offset=offset,
        pair_head=pair_head,
        dropout=theirs.get("hidden_dropout_prob", 0.1),
        norm_epsilon=theirs.get("layer_norm_eps", 1e-12),
    )


def config_to_hugging_face(config: BertConfig, pad: int) -> dict[str, Any]:
    """Their `config.json` from our configuration; `pad`: the id of the padding token."""
    kind = family(config)
    if kind == "roberta" and config.position_offset != pad + 1:
        raise ValueError(
            f"RoBERTa's first position is that behind padding, {pad + 1}; position_offset is {config.position_offset}"
        )
    return {
        "model_type": kind,
        "architectures": [ARCHITECTURES[kind, config.pair_head]],
        "num_hidden_layers": config.layers,
        "hidden_size": config.width,
        "num_attention_heads": config.heads,
        "intermediate_size": config.inner,
        "max_position_embeddings": config.context + config.position_offset,
        "vocab_size": config.vocab,
        "type_vocab_size": config.segments,
        "hidden_act": ACTIVATIONS[config.activation],
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "layer_norm_eps": config.norm_epsilon,
        "pad_token_id": pad,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        **({"embedding_size": config.token_width, "num_hidden_groups": 1} if kind == "albert" else {}),
    }
