"""A fine-tuning on features in a process of its own, which may kill itself."""

import os
import signal
from pathlib import Path

from lm.finetune.config import FinetuneConfig
from lm.finetune.train import finetune
from lm.train.hooks import Hooks


def train(data: str, backbone: str, settings: str, out: str, moment: int) -> int:
    """Fine-tune into `out`; killed after `moment` steps if that is not 0. Returns the last step."""
    steps = []

    def progress(step: int, _: int) -> None:
        steps.append(step)
        if step == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    config = FinetuneConfig.model_validate_json(settings)
    finetune(Path(data), Path(backbone), config, Path(out), Hooks(on_progress=progress))
    return steps[-1]
