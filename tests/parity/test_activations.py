"""Two models side by side: the modules of a weight map, and where they part."""

import pytest
import torch

from lm.interop import bert, xlnet
from lm.interop.activations import activation_differences, module_pairs
from lm.interop.gpt2 import PREFIX, config_to_hugging_face, weight_rows
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.xlnet import XLNet
from lm.nn.masks import Padding
from tests.lm.small_bert import KIN, PAD, jittered, random_config
from tests.lm.small_xlnet import changed, sharp

transformers = pytest.importorskip("transformers")
TOKENS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_wrong_weight_shows_in_its_module_first(norm: str) -> None:
    config = GPTConfig(layers=3, width=16, heads=2, context=8, vocab=20, norm=norm)
    model = GPT(config, seed=1).eval()
    there, settings = {
        "pre": (transformers.GPT2LMHeadModel, transformers.GPT2Config),
        "post": (transformers.OpenAIGPTLMHeadModel, transformers.OpenAIGPTConfig),
    }[norm]
    theirs = there(settings(**config_to_hugging_face(config, 0))).eval()
    named, ours = dict(theirs.named_parameters()), model.state_dict()
    rows = weight_rows(config)
    with torch.no_grad():
        for row in rows:
            named[PREFIX + row.theirs].copy_(ours[row.ours].T if row.transpose else ours[row.ours])
    names = [(row.ours, PREFIX + row.theirs) for row in rows]

    def differences() -> list[tuple[str, float]]:
        found = activation_differences(model, theirs, names, lambda: model(TOKENS), lambda: theirs(TOKENS))
        return [(each.ours, each.relative) for each in found]

    same = differences()
    assert len(same) == 2 + 6 * 3 + (norm == "pre")
    assert max(relative for _, relative in same) < 1e-5
    with torch.no_grad():
        named[f"{PREFIX}h.1.mlp.c_fc.weight"].mul_(1.5)
    wrong = [name for name, relative in differences() if relative > 1e-3]
    assert wrong[0] == "blocks.1.expand"
    assert not any(name.startswith("blocks.0") for name in wrong)
    with pytest.raises(ValueError, match=r"blocks\.0\.ln_1 / transformer\.h\.0\.ln_1: did not run in both"):
        activation_differences(model, theirs, names[2:], lambda: None, lambda: theirs(TOKENS))


CLASSES = {"bert": "BertForPreTraining", "roberta": "RobertaForMaskedLM", "albert": "AlbertForPreTraining"}
SCORES = {"bert": "cls.predictions", "roberta": "lm_head", "albert": "predictions"}
SEGMENTS = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]])


@pytest.mark.parametrize("kind", KIN)
def test_a_wrong_key_of_a_bert_shows_in_its_query_key_and_value(kind: str) -> None:
    """Theirs keeps apart what ours has in one matrix."""
    small = {"layers": 3, "context": 4, "vocab": 20}
    model = jittered(random_config(kind, 1).model_copy(update=small)).double()
    there = getattr(transformers, CLASSES[kind])
    theirs = there(there.config_class(**bert.config_to_hugging_face(model.config, PAD[kind]))).double().eval()
    named, ours = dict(theirs.named_parameters(remove_duplicate=False)), model.state_dict()
    rows = list(bert.rows(model.config))
    with torch.no_grad():
        for row in rows:
            for name, part in zip(row.theirs, ours[row.ours].chunk(len(row.theirs)), strict=True):
                named[name].copy_(part)
    tokens, real = TOKENS + 2, torch.ones(2, 4, dtype=torch.bool)
    segments = torch.zeros_like(SEGMENTS) if kind == "roberta" else SEGMENTS

    def run_ours() -> None:
        model(tokens, segments, Padding(real))
        if model.pair_head is not None:
            model.pair_logits(model.hidden_states(tokens, segments))

    def differences() -> list[tuple[str, str, float]]:
        found = activation_differences(
            model,
            theirs,
            [(row.ours, row.theirs) for row in rows],
            run_ours,
            lambda: theirs(tokens, token_type_ids=segments),
        )
        return [(each.ours, each.theirs, each.relative) for each in found]

    same = differences()
    layers = 1 if kind == "albert" else 3
    heads = 0 if kind == "roberta" else 2
    assert len(same) == 4 + (kind == "albert") + 6 * layers + 3 + heads
    assert max(relative for *_, relative in same) < 1e-9
    layer = layers // 2
    key = next(row.theirs[1] for row in rows if row.ours == f"blocks.{layer}.attention.qkv.weight")
    with torch.no_grad():
        named[key].mul_(1.5)
    wrong = [(name, there) for name, there, relative in differences() if relative > 1e-3]
    assert wrong[0][0] == f"blocks.{layer}.attention.qkv"
    assert wrong[0][1].count(" + ") == 2
    assert key.removesuffix(".weight") in wrong[0][1]
    assert ("", SCORES[kind]) in wrong  # and in the scores at the end


def test_a_wrong_matrix_of_an_xlnets_attention_shows_in_the_norm_behind_it() -> None:
    """Theirs has the matrices as parameters of one module: there is nothing in between to compare."""
    config = changed(layers=3)
    model: XLNet = sharp(config)
    theirs = transformers.XLNetLMHeadModel(transformers.XLNetConfig(**xlnet.config_to_hugging_face(config, 0)))
    theirs = theirs.double().eval()
    theirs.load_state_dict(xlnet.state_to_hugging_face(model), strict=False)
    theirs.tie_weights()
    names = [(row.ours, row.theirs) for row in xlnet.rows(3)]

    def differences() -> list[tuple[str, float]]:
        found = activation_differences(
            model,
            theirs,
            names,
            lambda: model.read(TOKENS, segments=SEGMENTS),
            lambda: theirs(TOKENS, token_type_ids=SEGMENTS, use_mems=False),
            time_first=True,
        )
        return [(each.ours, each.relative) for each in found]

    same = differences()
    expected = {"token_embedding"} | {
        f"layers.{n}.{m}" for n in range(3) for m in ("ln_1", "expand", "contract", "ln_2")
    }
    assert {name for name, _ in same} == expected
    assert {a for a, _ in module_pairs(names)} == expected
    assert max(relative for _, relative in same) < 1e-6  # theirs computes positions in fp32
    with torch.no_grad():
        theirs.transformer.layer[1].rel_attn.k.mul_(1.5)
    wrong = [name for name, relative in differences() if relative > 1e-3]
    assert wrong[0] == "layers.1.ln_1"
    assert not any(name.startswith(("layers.0", "token")) for name in wrong)
