"""Figures of speed, and the layers that are compiled."""

from copy import deepcopy

import pytest
import torch

from lm.flops import training_flops
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.train import speed
from lm.train.layers import compile_layers, stacked_layers, uncompile_layers
from lm.train.speed import peak_flops, speed_figures

SIZE = GPTConfig(layers=2, width=16, heads=2, context=8, vocab=40)


def test_the_utilisation_of_gpus_is_the_models_arithmetic_over_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    found = speed_figures(1_000_000, 2.0, GPT(SIZE), torch.device("cuda"), 4)
    needed = training_flops(SIZE, 1_000_000) / 2.0
    assert found == {"tokens_per_second": 500_000, "gpu_memory_gib": 3.0, "mfu": pytest.approx(needed / (4 * 989e12))}
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Something new")
    assert "mfu" not in speed_figures(1, 1.0, GPT(SIZE), torch.device("cuda"), 1)
    assert speed_figures(10, 2.0, GPT(SIZE), torch.device("cpu"), 1) == {"tokens_per_second": 5.0}


@pytest.mark.parametrize(
    ("name", "peak"), [("NVIDIA H100 PCIe", 756e12), ("NVIDIA A100-SXM4-80GB", 312e12), ("X", None)]
)
def test_a_gpu_is_known_by_its_name(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak
    assert all(value > 1e13 for value in speed.PEAK_FLOPS.values())


def test_the_layers_are_compiled_and_nothing_else() -> None:
    plain, compiled = GPT(SIZE).eval(), GPT(SIZE).eval()
    compile_layers(compiled, backend="eager")
    assert [m for m in compiled.modules() if "forward" in m.__dict__] == list(compiled.blocks)
    tokens = torch.arange(16).view(2, 8)
    assert torch.equal(plain(tokens), compiled(tokens))
    assert list(plain.state_dict()) == list(compiled.state_dict())
    copy = deepcopy(compiled)
    uncompile_layers(copy)
    with torch.no_grad():
        copy.blocks[0].contract.bias.add_(1.0)
    assert not torch.equal(plain(tokens), copy(tokens))
    assert stacked_layers(RNNLM(RNNConfig(vocab=40))) == []
    with pytest.raises(ValueError, match="compile: RNNLM is no stack of equal layers"):
        compile_layers(RNNLM(RNNConfig(vocab=40)))
