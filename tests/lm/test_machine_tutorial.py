"""The first tutorial runs, and what it prints is what docs/models/rnn.md says."""

import importlib.util
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs/models/machine.py"


def test_the_tutorial_learns_the_word(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("machine_tutorial", TUTORIAL)
    assert spec is not None
    assert spec.loader is not None
    tutorial = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tutorial)
    tutorial.main()
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "From m alone it writes: machine"
    loss = float(printed.split("Trained, loss ")[1].split(":")[0])
    assert loss < 1e-2
    assert "d loss_3 / d h = 0\n" in printed
    assert "d loss_3 / d c = 0\n" not in printed
