"""Where the trainer reports to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def _nothing(*_: Any) -> None:
    """The hook of someone who does not listen."""


@dataclass(frozen=True)
class Hooks:
    """Where the trainer reports to. None is called again for what a resumed checkpoint had reported."""

    on_metrics: Callable[[int, dict[str, float]], None] = _nothing
    """(step, figures): loss, learning_rate, grad_norm, tokens, tokens_per_second, ..."""
    on_evaluate: Callable[[int, dict[str, float]], None] = _nothing
    """(step, what `evaluate` returned); step 0 is the model before any update."""
    on_sample: Callable[[int, str, str], None] = _nothing
    """(step, prompt, generated text)."""
    on_mishap: Callable[[int, dict[str, Any]], None] = _nothing
    """(step, what was wrong with it and what is done: `lm.train.guard.Mishap.record`); a resumed run may repeat it."""
    on_progress: Callable[[int, int], None] = _nothing
    """(steps done, steps in all), after each step."""
    on_checkpoint: Callable[[int, Path], None] = _nothing
    """(step, its directory), once it is durable: from the thread that wrote it, beside the training and other hooks.
    What it raises ends the training at the next checkpoint, or at the end."""
