"""Seconds that an environment variable sets."""

import os

from autosparse.errors import AutosparseError


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
        raise AutosparseError(f"{variable}={given!r} is no number of seconds: set one, or {otherwise}")
    return seconds
