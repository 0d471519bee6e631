"""Learning rates as pure functions of the step, so that a training can go on from any epoch, alone or with others.

Each function returns the factor on the recipe's learning rate in ``step`` (from 0) of ``steps``, as PyTorch's scheduler
of the same name gives it if it is stepped after every batch.
"""

import math
from collections.abc import Callable

MULTI_STEP = "multi-step"
RISING, FIRST, LAST = 0.3, 1 / 25, 1 / 25 / 1e4
"""``OneCycleLR``: the share of the steps in which the rate rises, and its factors in the first and in the last step."""


def cosine(step: int, steps: int) -> float:
    """``CosineAnnealingLR(T_max=steps)``: from 1 along half a cosine; it would reach 0 after the last step."""
    return (1 + math.cos(math.pi * step / steps)) / 2


def one_cycle(step: int, steps: int) -> float:
    """``OneCycleLR(max_lr=lr, total_steps=steps)``: up from 1/25 to 1 along a cosine, then down to 1/250,000."""
    top = RISING * steps - 1
    if step <= top:
        return _between(FIRST, 1.0, step / top)
    return _between(1.0, LAST, (step - top) / (steps - 1 - top))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def warming_up(step: int, steps: int) -> float:
    """``LinearLR(start_factor=1 / steps, total_iters=steps - 1)``: 1/steps, 2/steps, ..., 1, and 1 ever after."""
    return min(1.0, (step + 1) / steps) if steps else 1.0


BY_STEP: dict[str, Callable[[int, int], float]] = {"cosine": cosine, "one-cycle": one_cycle}
"""Schedules that change the rate after every step."""
SCHEDULES = (MULTI_STEP, *BY_STEP)
