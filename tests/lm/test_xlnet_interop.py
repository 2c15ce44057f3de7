"""Hugging Face folders of XLNet, both ways."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lm.generate_stepwise import LeftStep, generate_stepwise
from lm.interop.xlnet import (
    config_from_hugging_face,
    config_to_hugging_face,
    export_xlnet,
    import_xlnet,
    state_from_hugging_face,
    state_to_hugging_face,
)
from lm.models.xlnet import XLNet
from lm.sampling import Draw
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
greedy = torch.tensor([[1, 2, 3]])
for _ in range(8):  # from left to right: each place sees those before it; the last one, of no known token, is asked
    longer = torch.cat([greedy, torch.zeros(1, 1, dtype=torch.int64)], 1)
    time = longer.shape[1]
    out = model(longer, perm_mask=torch.ones(1, time, time).triu(), target_mapping=torch.eye(time)[None, -1:])
    greedy = torch.cat([greedy, out.logits[:, -1].argmax(-1, keepdim=True)], 1)
answer = model.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=8, do_sample=False, use_mems=False, pad_token_id=0,
  eos_token_id=None)
print(json.dumps({"class": type(model).__name__, "missing": sorted(report["missing_keys"]),
  "unexpected": sorted(report["unexpected_keys"]), "ids": tokenizer("the model learns")["input_ids"],
  "greedy": greedy[0].tolist(), "generated": answer[0].tolist(),
  "logits": model(torch.tensor([[1, 2, 3]])).logits.tolist()}))
"""
    got = json.loads(stranger(script, str(tmp_path / "hf"), folder=tmp_path).splitlines()[-1])
    assert got["class"] == "XLNetLMHeadModel"
    assert got["missing"] == got["unexpected"] == []
    content = model.logits(model.read(torch.tensor([[1, 2, 3]])).content)
    assert torch.allclose(torch.tensor(got["logits"]), content, atol=1e-4)
    assert got["greedy"] == [1, 2, 3, *generate_stepwise(LeftStep(model), [1, 2, 3], 8, Draw(temperature=0))]
    written = [1, 2, 3]
    for _ in range(8):  # their `generate` shows all that is written to all of it
        tokens, time = torch.tensor([[*written, 0]]), len(written) + 1
        visible = (torch.arange(time) < time - 1).expand(time, time)
        query = model.read(tokens, visible, torch.tensor([[time - 1]])).query
        assert query is not None
        written.append(int(model.logits(query).argmax()))
    assert got["generated"] == written
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
