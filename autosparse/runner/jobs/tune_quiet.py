"""Keep Tune's reporter off the terminal, where stdout is for our results and stderr for our messages; keep credentials
out of its logs; and read none of its pickles."""

import contextlib
import io
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ray import tune

from autosparse.files import refusing_unwritable
from autosparse.runner import ray_private


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Within the block, Tune prints and logs nothing, sends no credentials to workers, and reads no pickle."""
    ray_private.send_no_credentials()
    ray_private.read_no_pickles()
    ray_private.outlive_lack_of_memory()
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
        sys.stdout.flush()


def fit(tuner: Callable[[], tune.Tuner], scratch: Path) -> tune.ResultGrid | None:
    """Make a tuner and ``fit()`` it, silenced; then remove ``scratch``, where it writes.

    Returns None if Tune gave up waiting for the resources of a node that had died: ``RayActorManager.next`` calls
    itself a thousand deep while Ray says both that they are there and that they are not. Records say what is done.
    """
    try:
        with silenced():
            with refusing_unwritable(scratch):
                made = tuner()
            return made.fit()
    except RecursionError:
        return None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
