"""How often a cell that is in training is kept."""

from autosparse.runner.environment_seconds import seconds_from

VARIABLE = "AUTOSPARSE_CHECKPOINT_EVERY"
"""Environment variable: least seconds between checkpoints of a cell; 0: one after each epoch; inf: none."""
EVERY = 300.0
"""Seconds if the variable is not set, so that short cells write none."""


def checkpoint_every() -> float:
    """The seconds that the environment sets, or the default."""
    return seconds_from(VARIABLE, EVERY, "inf for no checkpoints")
