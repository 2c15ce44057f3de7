"""What needs a GPU: NCCL, bf16, fused optimisers, compiled layers, figures of the machine, in a training as torchrun
starts it: in two ranks if there are two GPUs, else in one. `test_launch` looks at the same of ranks without GPUs."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lm.config import TrainConfig
from lm.launch.launch import pretrain_shared
from lm.models.gpt_config import GPTConfig
from lm.parallel import ParallelConfig
from lm.pretrain import pretrain
from lm.pretraining import BertPretraining, GPTPretraining
from lm.recipes.recipe import Given
from lm.train.hooks import Hooks
from lm.train.speed import peak_flops
from tests.conftest import LONG
from tests.lm.masked_corpus import documents as sentences
from tests.lm.masked_corpus import make_index
from tests.lm.rank_looks import look_into_ranks, used

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(LONG),  # what is compiled is compiled by each rank
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use"),
]
STEPS = 6
RANKS = 2 if torch.cuda.device_count() > 1 else 1


def given(folder: Path, kind: str, compiled: bool, precision: str) -> Given:
    index, tokenizer = make_index(folder, sentences(30))
    size = {"layers": 2, "width": 128, "heads": 4, "context": 32, "vocab": index.vocab}
    config = TrainConfig.model_validate(
        {
            **{"steps": STEPS, "batch": 8, "micro_batch": 2, "device": "cuda", "precision": precision},
            **{"compile": compiled, "metrics_interval": 1, "eval_interval": 3, "sample_interval": 0},
            **{"checkpoint_interval": 2, "eval_sequences": 4},
        }
    )
    if kind == "gpt":
        settings: Any = GPTPretraining(model=GPTConfig(**size))
    else:
        settings = BertPretraining.model_validate({"model": {**size, "dropout": 0}, "segments": {"length": 32}})
    return Given(settings, settings.resolve(config), index, index, tokenizer)


@pytest.mark.parametrize("kind", ["gpt", "bert"])
@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
@pytest.mark.parametrize(("compiled", "precision"), [(False, "fp32"), (True, "bf16")])
def test_gpus_share_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, sharding: str, compiled: bool, precision: str
) -> None:
    asked = given(tmp_path, kind, compiled, precision)
    metrics: list[dict[str, float]] = []
    hooks = Hooks(on_metrics=lambda _, figures: metrics.append(figures))
    alone = pretrain(asked, tmp_path / "alone-checkpoints", tmp_path / "alone", hooks)

    look_into_ranks(tmp_path / "looks", monkeypatch)
    shared: list[dict[str, float]] = []
    parallel = ParallelConfig.model_validate({"processes": RANKS, "sharding": sharding})
    places = (tmp_path / "checkpoints", tmp_path / "model", Hooks(on_metrics=lambda _, said: shared.append(said)))
    result = pretrain_shared(asked, parallel, *places, tmp_path / "jobs", threads=2)

    for rank, said in enumerate(used(tmp_path / "looks", RANKS)):
        assert said["backend"] == "nccl"
        assert said["device"] == f"cuda:{rank}"
        assert said["fused"]
        assert all(said["fused"])
        assert (said["compiled"] > 0) == compiled
        assert said["sharded"] == (sharding == "fsdp")
    tolerance = 1e-4 if precision == "fp32" else 2e-2
    assert result["valid"] == pytest.approx(alone["valid"], rel=tolerance)
    assert len(shared) == len(metrics) == STEPS
    for one, two in zip(metrics, shared, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=tolerance)
        assert 0 < two["gpu_memory_gib"] < torch.cuda.get_device_properties(0).total_memory / 2**30
        if kind == "gpt" and peak_flops(torch.cuda.get_device_name(0)):
            assert 0 < two["mfu"] < 1
