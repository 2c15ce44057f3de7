"""Two models side by side: the modules of a weight map, and where they part."""

import pytest
import torch

from lm.config import GPTConfig
from lm.interop.activations import activation_differences
from lm.interop.gpt2 import PREFIX, config_to_hugging_face, weight_rows
from lm.models.gpt import GPT

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
