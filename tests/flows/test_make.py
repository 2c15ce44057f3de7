"""The Makefile's environment: made by a Python outside of it, whatever is activated."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_an_activated_environment_is_not_what_makes_it(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    own = tmp_path / ".venv" / "bin"
    own.mkdir(parents=True)
    (own / "python3.11").symlink_to(sys.executable)
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "python3.11").symlink_to(sys.executable)
    path = os.pathsep.join([str(own), str(other), os.environ["PATH"]])
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS")}
    said = subprocess.run(
        ["make", "-n", "setup"],
        cwd=tmp_path,
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f'"{other / "python3.11"}" -m venv --clear' in said
    assert f'"{own / "python3.11"}" -m venv' not in said
