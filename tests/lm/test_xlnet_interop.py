"""Hugging Face folders of XLNet, both ways."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lm.interop.xlnet import (
    config_from_hugging_face,
    config_to_hugging_face,
    export_xlnet,
    import_xlnet,
    state_from_hugging_face,
    state_to_hugging_face,
)
from lm.models.xlnet import XLNet
from lm.tokenizer import load_tokenizer
from tests.lm.small_xlnet import SMALL, changed, sharp


def test_an_export_loads_in_a_process_without_textmill(
    tmp_path: Path, tokenizer_dir: Path, stranger: Callable[..., str]
) -> None:
    model = sharp(changed(vocab=load_tokenizer(tokenizer_dir).get_vocab_size())).float()
    export_xlnet(model, tokenizer_dir, tmp_path / "hf")
    script = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model, report = AutoModelForCausalLM.from_pretrained(sys.argv[1], output_loading_info=True)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
print(json.dumps({"class": type(model).__name__, "missing": sorted(report["missing_keys"]),
  "unexpected": sorted(report["unexpected_keys"]), "ids": tokenizer("the model learns")["input_ids"],
  "logits": model(torch.tensor([[1, 2, 3]])).logits.tolist()}))
"""
    got = json.loads(stranger(script, str(tmp_path / "hf"), folder=tmp_path).splitlines()[-1])
    assert got["class"] == "XLNetLMHeadModel"
    assert got["missing"] == got["unexpected"] == []
    content = model.logits(model.read(torch.tensor([[1, 2, 3]])).content)
    assert torch.allclose(torch.tensor(got["logits"]), content, atol=1e-4)
    assert got["ids"] == load_tokenizer(tokenizer_dir).encode("the model learns").ids
    back, _ = import_xlnet(tmp_path / "hf")
    assert back.config == model.config.model_copy(update={"context": back.config.context})
    ours, theirs = model.state_dict(), back.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2', not 'xlnet'"),
        ({"attn_type": "uni"}, "attn_type is 'uni'; this XLNet has 'bi'"),
        ({"ff_activation": "relu"}, "ff_activation is 'relu'"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
    ],
)
def test_what_is_not_this_xlnet_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_from_hugging_face({**config_to_hugging_face(SMALL, 0), **change}, "folder")


def test_broken_weights_are_named() -> None:
    theirs = state_to_hugging_face(XLNet(SMALL))
    with pytest.raises(ValueError, match=r"the weights lack lm_loss\.bias"):
        state_from_hugging_face({k: v for k, v in theirs.items() if k != "lm_loss.bias"}, SMALL, "folder")
    with pytest.raises(ValueError, match="XLNet does not have: extra"):
        state_from_hugging_face({**theirs, "extra": torch.zeros(1)}, SMALL, "folder")
    with pytest.raises(ValueError, match="its output head is not its embedding"):
        state_from_hugging_face({**theirs, "lm_loss.weight": torch.zeros(2, 2)}, SMALL, "folder")
