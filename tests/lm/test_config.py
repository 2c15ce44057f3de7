"""Configuration: strict, light, and every `auto` resolved without training."""

import subprocess
import sys

import pytest
from pydantic import BaseModel, ValidationError

from lm import config as module
from lm import hardware
from lm.config import StrictModel, TrainConfig
from lm.models.gpt_config import GPT_PRESETS, GPTConfig
from lm.tokenizers import config as tokenizers


def test_importing_it_imports_nothing_heavy() -> None:
    script = (
        "import sys, lm.config, lm.tokenizers.config;"
        "print(sorted({'torch', 'numpy', 'tokenizers', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_field_is_described_and_unknown_keys_are_errors() -> None:
    found = [*vars(module).values(), *vars(tokenizers).values()]
    classes = [c for c in found if isinstance(c, type) and issubclass(c, BaseModel)]
    for cls in classes:
        if cls in (BaseModel, StrictModel):
            continue
        assert cls.__doc__
        assert all(f.description for f in cls.model_fields.values()), cls
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        GPTConfig(layer=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("given", [{}, {"steps": 3, "tokens": 5}, {"epochs": 1.0, "steps": 2}])
def test_exactly_one_budget(given: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="exactly one of steps, tokens and epochs"):
        TrainConfig(**given)


def test_best_needs_evaluations() -> None:
    with pytest.raises(ValidationError, match="eval_interval is 0"):
        TrainConfig(steps=1, select="best", eval_interval=0)


def test_budgets_become_steps() -> None:
    assert TrainConfig(steps=7).total_steps(100, 32) == 7
    assert TrainConfig(tokens=1025, batch=4).total_steps(100, 32) == 9
    assert TrainConfig(epochs=1.5, batch=16).total_steps(100, 32) == 10


def test_auto_is_resolved_from_model_and_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "gpu_compute_capability", lambda: None)
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx512_bf16"}))
    got = TrainConfig(steps=100, batch=64).resolve(GPT_PRESETS["gpt2"]).resolve_steps(100)
    assert got.device == "cpu"
    assert got.precision == "bf16"
    assert got.micro_batch == 1  # 1024 * 50257 fp32 logits are 206 MB
    assert got.optimizer.learning_rate == pytest.approx(6e-4)
    assert (got.schedule.warmup_steps, got.eval_interval, got.sample_interval) == (10, 10, 20)
    assert "auto" not in got.model_dump_json()
    assert TrainConfig(steps=1).resolve(GPT_PRESETS["pico"]).optimizer.learning_rate == 3e-3


def test_precision_follows_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = hardware.resolve_precision
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx2"}))
    assert resolve("auto", "cpu") == "fp32"
    assert resolve("bf16", "cpu") == "bf16"
    for capability, precision in ((7.5, "fp32"), (8.0, "bf16"), (None, "fp32")):
        monkeypatch.setattr(hardware, "gpu_compute_capability", lambda c=capability: c)
        assert resolve("auto", "cuda") == precision
    monkeypatch.setattr(hardware, "gpu_compute_capability", lambda: 9.0)
    assert hardware.resolve_device("auto") == "cuda"
    assert hardware.resolve_device("cpu") == "cpu"


def test_hidden_gpus_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    hardware.gpu_compute_capability.cache_clear()
    assert hardware.gpu_compute_capability() is None
    hardware.gpu_compute_capability.cache_clear()
