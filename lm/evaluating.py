"""A model while it is asked and not taught."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """In eval mode and without gradients inside; afterwards, also after an error, in the mode that it was in.

    Not around a `yield`: who iterates would be without gradients meanwhile (`lm.generate` keeps the mode by itself).
    """
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
