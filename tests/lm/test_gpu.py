"""What needs a GPU: NCCL, bf16, compiled layers, figures of the machine; two ranks if there are two GPUs, else one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lm.config import TrainConfig
from lm.launch.job import Job, write_job
from lm.models.gpt_config import GPTConfig
from lm.parallel import ParallelConfig
from lm.pretrain import pretrain
from lm.pretraining import GPTPretraining
from lm.recipes.recipe import Given
from lm.tokens import build_index
from lm.train.hooks import Hooks
from lm.train.speed import peak_flops

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use"),
]
STEPS = 6
RANKS = 2 if torch.cuda.device_count() > 1 else 1


def given(shards: list[Path], tokenizer_dir: Path, compiled: bool, precision: str) -> Given:
    index = build_index(shards)
    settings = GPTPretraining(model=GPTConfig(layers=2, width=128, heads=4, context=32, vocab=index.vocab))
    config = TrainConfig.model_validate(
        {
            **{"steps": STEPS, "batch": 8, "micro_batch": 2, "device": "cuda", "precision": precision},
            **{"compile": compiled, "metrics_interval": 1, "eval_interval": 3, "sample_interval": 0},
            **{"checkpoint_interval": 2, "eval_sequences": 4},
        }
    )
    return Given(settings, settings.resolve(config), index, index, tokenizer_dir)


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
@pytest.mark.parametrize(("compiled", "precision"), [(False, "fp32"), (True, "bf16")])
def test_gpus_share_a_training(
    tmp_path: Path, shards: list[Path], tokenizer_dir: Path, sharding: str, compiled: bool, precision: str
) -> None:
    asked = given(shards, tokenizer_dir, compiled, precision)
    metrics: list[dict[str, float]] = []
    hooks = Hooks(on_metrics=lambda _, figures: metrics.append(figures))
    alone = pretrain(asked, tmp_path / "alone-checkpoints", tmp_path / "alone", hooks)
    parallel = ParallelConfig.model_validate({"processes": RANKS, "sharding": sharding})
    job = Job(tmp_path / "job", parallel, tmp_path / "checkpoints", tmp_path / "model", 2)
    write_job(job, asked)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "lm.launch.worker", str(job.folder)],
            stdin=subprocess.PIPE,
            env={**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": os.getcwd()},
        )
        for rank in range(RANKS)
    ]
    assert [rank.wait(200) for rank in ranks] == [0] * RANKS
    result = json.loads((job.folder / "result.json").read_text())
    tolerance = 1e-4 if precision == "fp32" else 2e-2
    assert result["valid"] == pytest.approx(alone["valid"], rel=tolerance)
    told = [json.loads(line) for line in (job.folder / "events.jsonl").read_text().splitlines()]
    shared = [event[2] for event in told if event[0] == "metrics"]
    assert len(shared) == len(metrics) == STEPS
    for one, two in zip(metrics, shared, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=tolerance)
        assert 0 < two["gpu_memory_gib"] < torch.cuda.get_device_properties(0).total_memory / 2**30
        if peak_flops(torch.cuda.get_device_name(0)):
            assert 0 < two["mfu"] < 1
