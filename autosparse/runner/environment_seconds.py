"""Seconds that an environment variable sets, such as how often a cell that is in training is kept."""

import os

from autosparse.errors import AutosparseError

CHECKPOINT_VARIABLE = "AUTOSPARSE_CHECKPOINT_EVERY"
"""Environment variable: least seconds between checkpoints of a cell; 0: one after each epoch; inf: none."""
CHECKPOINT_EVERY = 300.0
"""Seconds if the variable is not set, so that short cells write none."""


def checkpoint_every() -> float:
    """The least seconds between checkpoints that the environment sets, or the default."""
    return seconds_from(CHECKPOINT_VARIABLE, CHECKPOINT_EVERY, "inf for no checkpoints")


def seconds_from(variable: str, default: float, otherwise: str) -> float:
    """The seconds in an environment variable, or ``default`` if it is empty or not set.

    :param otherwise: what else to set, for the message.
    :raises AutosparseError: if it holds no number, or one below 0.
    """
    given = os.environ.get(variable, "")
    try:
        seconds = float(given or default)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise AutosparseError(f"{variable}={given!r} is not a number of seconds: set one, or {otherwise}")
    return seconds
