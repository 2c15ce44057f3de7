"""Learning-rate schedules as functions of the step alone."""

import math

from lm.config import ScheduleConfig


def learning_rate_factor(step: int, steps: int, config: ScheduleConfig) -> float:
    """Learning rate of update `step` (0 .. steps - 1) as a fraction of the peak.

    Warm-up rises linearly and reaches the peak at its last step; the shape then runs over what is left, and
    the last update is made at the final fraction (`noam` has none). Raises ValueError while `warmup_steps` is "auto".
    """
    if config.shape == "stlr":
        return slanted_triangular(step, steps, config.cut_fraction, config.ratio)
    if config.warmup_steps == "auto":
        raise ValueError("resolve the schedule first: warmup_steps is still 'auto'")
    warmup = min(config.warmup_steps, steps)
    if step < warmup:
        return (step + 1) / warmup
    final = config.final_fraction
    if config.shape == "constant":
        return 1.0
    if config.shape == "noam":
        return math.sqrt(max(1, warmup) / (step + 1))
    if config.shape == "wsd":
        decay = max(1, round(config.decay_part * steps))
        return 1.0 + (final - 1.0) * min(1.0, max(0, step - (steps - 1 - decay)) / decay)
    progress = (step - warmup + 1) / max(1, steps - warmup)
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


def slanted_triangular(step: int, steps: int, cut_fraction: float = 0.1, ratio: float = 32.0) -> float:
    """STLR: quickly up to the peak over the first part of all steps, slowly down over the rest, from 1 / ratio to 1 to
    1 / ratio (Howard & Ruder 2018, equation 3).

    Where cut_fraction * steps is no integer, the paper's descent would go on below 1 / ratio, even below zero; here it
    ends with the last step.
    """
    cut = max(1, math.floor(steps * cut_fraction))
    p = step / cut if step < cut else 1.0 - (step - cut) / max(1, steps - cut)
    return (1.0 + p * (ratio - 1.0)) / ratio


def noam_peak(width: int, warmup_steps: int) -> float:
    """The peak rate of `noam`, d^-0.5 min(n^-0.5, n w^-1.5) at step n = w (Vaswani et al. 2017, equation 3)."""
    return (width * warmup_steps) ** -0.5
