"""Kernels compile where nothing can be cached, and options reach numba."""

import importlib.util
from pathlib import Path

import pytest

KERNELS = """
from data_quality.compiled import kernel

@kernel(inline="always")
def square(x: int) -> int:
    return x * x

@kernel
def squares(n: int) -> int:
    total = 0
    for i in range(n):
        total += square(i)
    return total
"""


def kernels(folder: Path):
    (folder / "kernels.py").write_text(KERNELS)
    spec = importlib.util.spec_from_file_location("kernels", folder / "kernels.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_kernels_are_cached_beside_their_source_and_take_options(tmp_path: Path) -> None:
    module = kernels(tmp_path)
    assert module.squares(4) == 14
    assert list(tmp_path.glob("__pycache__/*.nbi"))
    assert module.square.targetoptions["inline"] == "always"


def test_without_any_cache_directory_a_kernel_is_compiled_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where a folder should be stands a file: this refuses root too, whom permissions do not stop.
    (tmp_path / "__pycache__").write_text("")
    (tmp_path / "home").write_text("")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    for variable in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    module = kernels(tmp_path)
    assert module.squares(4) == 14
    assert (tmp_path / "__pycache__").is_file()
