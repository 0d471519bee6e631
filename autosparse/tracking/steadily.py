"""Try again if the connection to MLflow breaks, as it does now and then on a slow network."""

import socket
from collections.abc import Callable
from typing import TypeVar

import tenacity
from urllib3.exceptions import MaxRetryError

from autosparse.errors import Unreachable, causes

TRIES, PAUSE, PATIENCE = 3, 2.0, 20.0
"""How often work is tried, seconds between two tries, and seconds after which it is not tried again."""

T = TypeVar("T")


def steadily(work: Callable[[], T]) -> T:
    """The result of ``work``, which is tried again if its connection breaks; if nobody listens, it fails at once.

    :param work: harmless if it is done twice.
    :raises AutosparseError: that of the last try.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_broke),
        stop=tenacity.stop_after_attempt(TRIES) | tenacity.stop_after_delay(PATIENCE),
        wait=tenacity.wait_fixed(PAUSE),
        reraise=True,
    )
    return retrying(work)


def _broke(error: BaseException) -> bool:
    """Whether a connection broke, rather than that there was nobody to connect to."""
    found = list(causes(error))
    absent = any(isinstance(cause, ConnectionRefusedError | socket.gaierror) for cause in found)
    return isinstance(error, Unreachable) and any(isinstance(cause, MaxRetryError) for cause in found) and not absent
