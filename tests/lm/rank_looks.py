"""What the ranks of a shared training use, looked at in each rank itself."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

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


def look_into_ranks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the ranks of all trainings that begin from now on write into `folder` what they have used."""
    (folder / "site").mkdir(parents=True)
    (folder / "site/sitecustomize.py").write_text(LOOKS.format(folder=folder))
    monkeypatch.setenv("PYTHONPATH", str(folder / "site"), prepend=os.pathsep)


def used(folder: Path, ranks: int) -> list[dict[str, Any]]:
    """What each rank has used."""
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(ranks)]
