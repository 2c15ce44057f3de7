"""What this machine can do, found out without importing torch (a cached run must not pay for it)."""

import importlib.metadata
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Literal


@cache
def gpu_compute_capability() -> float | None:
    """CUDA compute capability of the first visible NVIDIA GPU that the installed torch can use, or None."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if hidden or not Path("/dev/nvidiactl").exists() or importlib.metadata.version("torch").endswith("+cpu"):
        return None
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return float(answer.split()[0]) if answer.split() else None


@cache
def cpu_flags() -> frozenset[str]:
    """Instruction-set flags of the first CPU as Linux names them; empty elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return frozenset()
    for line in cpuinfo.read_text().splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def resolve_device(device: Literal["auto", "cpu", "cuda"]) -> Literal["cpu", "cuda"]:
    """`auto` becomes "cuda" where torch can use a GPU, else "cpu"."""
    if device != "auto":
        return device
    return "cpu" if gpu_compute_capability() is None else "cuda"


def resolve_precision(
    precision: Literal["auto", "fp32", "bf16"], device: Literal["cpu", "cuda"]
) -> Literal["fp32", "bf16"]:
    """`auto` becomes "bf16" where the device multiplies bfloat16 natively, else "fp32"."""
    if precision != "auto":
        return precision
    if device == "cuda":
        return "bf16" if (gpu_compute_capability() or 0.0) >= 8.0 else "fp32"
    return "bf16" if cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"} else "fp32"
