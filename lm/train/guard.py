"""Stop before a bad update: a loss or gradient that is not finite never reaches the weights."""

import math

import numpy as np


class NonFiniteError(RuntimeError):
    """Loss or gradient norm is infinite or not a number."""


def require_finite(step: int, loss: float, grad_norm: float, examples: np.ndarray) -> None:
    """Raise NonFiniteError naming the step and its examples, so that the batch can be looked at."""
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return
    what = f"loss {loss}" if not math.isfinite(loss) else f"gradient norm {grad_norm} (loss {loss:.4f})"
    shown = ", ".join(map(str, examples[:16])) + (", ..." if len(examples) > 16 else "")
    raise NonFiniteError(
        f"step {step}: {what} is not finite; nothing was updated. Examples of this step: [{shown}]. "
        "The last checkpoint is good: lower the learning rate, warm up longer or look at these examples."
    )
