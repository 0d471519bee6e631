"""How often a cell that is in training is kept."""

import os

from autosparse.errors import AutosparseError

VARIABLE = "AUTOSPARSE_CHECKPOINT_EVERY"
"""Environment variable: least seconds between checkpoints of a cell; 0: one after each epoch; inf: none."""
EVERY = 300.0
"""Seconds if the variable is not set, so that short cells write none."""


def checkpoint_every() -> float:
    """The seconds that the environment sets, or the default."""
    given = os.environ.get(VARIABLE, "")
    try:
        seconds = float(given or EVERY)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise AutosparseError(f"{VARIABLE}={given!r} is no number of seconds: set one, or inf for no checkpoints")
    return seconds
