"""Trainings as torchrun starts them: what each rank uses is looked at in the rank itself. On GPUs: NCCL, bf16, fused
optimisers, compiled layers, figures of the machine, in two ranks if there are two GPUs, else in one. On the processor,
wherever tests run: gloo."""

import json
import os
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

STEPS = 6
GPUS = torch.cuda.device_count() if torch.cuda.is_available() else 0

LOOKS = """
import os

if "RANK" in os.environ:
    import json
    import pathlib


    import torch
    import torch.distributed as dist

    import lm.train.trainer as trainer

    step = trainer.Trainer._step

    def look(self, read):
        step(self, read)
        if self.state.step < self.steps:
            return
        from torch._dynamo.utils import counters
        from torch.distributed.tensor import DTensor

        gradient = next(p for p in self.model.parameters() if p.requires_grad)
        said = {{
            "backend": dist.group.WORLD._get_backend(self.device).name(),
            "device": str(next(self.model.parameters()).device),
            "fused": [group["fused"] for group in self.optimizer.param_groups],
            "compiled": counters["frames"].get("ok", 0),
            "sharded": isinstance(gradient, DTensor),
        }}
        pathlib.Path("{folder}", os.environ["RANK"] + ".json").write_text(json.dumps(said))

    trainer.Trainer._step = look
"""
"""Read by every Python process that starts: after its last step a rank writes what it has used."""


def on_gpus(kind: str, sharding: str, compiled: bool, precision: str) -> Any:
    marks = [
        pytest.mark.gpu,
        pytest.mark.timeout(LONG),  # what is compiled is compiled by each rank
        pytest.mark.skipif(not GPUS, reason="no GPU that torch can use"),
    ]
    name = f"cuda-{kind}-{sharding}-{precision}{'-compiled' if compiled else ''}"
    return pytest.param("cuda", kind, sharding, compiled, precision, id=name, marks=marks)


CASES = [
    pytest.param("cpu", "bert", "fsdp", False, "fp32", id="cpu-bert-fsdp-fp32", marks=pytest.mark.server),
    *(
        on_gpus(kind, sharding, compiled, precision)
        for kind in ("gpt", "bert")
        for sharding in ("ddp", "fsdp")
        for compiled, precision in ((False, "fp32"), (True, "bf16"))
    ),
]


def given(folder: Path, kind: str, device: str, compiled: bool, precision: str) -> Given:
    index, tokenizer = make_index(folder, sentences(30))
    size = {"layers": 2, "width": 128, "heads": 4, "context": 32, "vocab": index.vocab}
    config = TrainConfig.model_validate(
        {
            **{"steps": STEPS, "batch": 8, "micro_batch": 2, "device": device, "precision": precision},
            **{"compile": compiled, "metrics_interval": 1, "eval_interval": 3, "sample_interval": 0},
            **{"checkpoint_interval": 2, "eval_sequences": 4},
        }
    )
    if kind == "gpt":
        settings: Any = GPTPretraining(model=GPTConfig(**size))
    else:
        settings = BertPretraining.model_validate({"model": {**size, "dropout": 0}, "segments": {"length": 32}})
    return Given(settings, settings.resolve(config), index, index, tokenizer)


@pytest.mark.parametrize(("device", "kind", "sharding", "compiled", "precision"), CASES)
def test_what_a_shared_training_uses_and_comes_to(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    kind: str,
    sharding: str,
    compiled: bool,
    precision: str,
) -> None:
    ranks = 2 if device == "cpu" else min(GPUS, 2)
    asked = given(tmp_path, kind, device, compiled, precision)
    metrics: list[dict[str, float]] = []
    hooks = Hooks(on_metrics=lambda _, figures: metrics.append(figures))
    alone = pretrain(asked, tmp_path / "alone-checkpoints", tmp_path / "alone", hooks)

    (tmp_path / "site").mkdir()
    (tmp_path / "used").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(LOOKS.format(folder=tmp_path / "used"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    shared: list[dict[str, float]] = []
    parallel = ParallelConfig.model_validate({"processes": ranks, "sharding": sharding})
    places = (tmp_path / "checkpoints", tmp_path / "model", Hooks(on_metrics=lambda _, said: shared.append(said)))
    result = pretrain_shared(asked, parallel, *places, tmp_path / "jobs", threads=2)

    used = [json.loads((tmp_path / "used" / f"{rank}.json").read_text()) for rank in range(ranks)]
    for rank, said in enumerate(used):
        assert said["backend"] == {"cpu": "gloo", "cuda": "nccl"}[device]
        assert said["device"] == ("cpu" if device == "cpu" else f"cuda:{rank}")
        assert said["fused"]
        assert all(said["fused"])
        assert (said["compiled"] > 0) == compiled
        assert said["sharded"] == (sharding == "fsdp")
    tolerance = 1e-4 if precision == "fp32" else 2e-2
    assert result["valid"] == pytest.approx(alone["valid"], rel=tolerance)
    assert len(shared) == len(metrics) == STEPS
    for one, two in zip(metrics, shared, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=tolerance)
        if device == "cuda":
            assert 0 < two["gpu_memory_gib"] < torch.cuda.get_device_properties(0).total_memory / 2**30
        if device == "cuda" and kind == "gpt" and peak_flops(torch.cuda.get_device_name(0)):
            assert 0 < two["mfu"] < 1
