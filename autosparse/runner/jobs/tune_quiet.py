"""Keep Tune's reporter off the terminal, where stdout is for our results and stderr for our messages; keep credentials
out of its logs; and read none of its pickles."""

import contextlib
import io
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import NamedTuple

from ray import tune

from autosparse.files import refusing_unwritable
from autosparse.runner import ray_private
from autosparse.runner.jobs.signs import VARIABLE
from autosparse.runner.work.gpu_check import DeviceLost


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


LOST = f"{DeviceLost.__name__}: "
"""How the traceback of a process that lost its device ends."""
HUNG = "it gave no sign of life, or got nowhere, for too long"
"""Our text for a worker that was ended because it hung."""
FAILURE = "Failure # "
"""How Tune begins each of the failures of a trial."""


def first_error(grid: tune.ResultGrid | None) -> str:
    """What ended the first trial that did not end well, in a sentence."""
    if grid is None or not grid.errors:
        return ""
    last = str(grid.errors[0]).rpartition(FAILURE)[2]
    return _death(last) or last.strip().splitlines()[-1].split(". ")[0]


class Death(NamedTuple):
    """How a worker process ended."""

    told: str
    """The cause in one line."""
    traceback: str
    """All that is known about it."""

    @property
    def cure(self) -> str:
        """What may help."""
        if LOST in self.traceback:
            return "mend what its traceback names, and use --retry-failed"
        if self.told == HUNG:
            return f"see that the disks that it reads answer, or set {VARIABLE} to more, and use --retry-failed"
        return "give it more memory, or smaller batches, and use --retry-failed"


def worker_deaths(grid: tune.ResultGrid | None) -> dict[str, Death]:
    """The last death of each trial whose worker process died every time, by the trial's folder.

    A process that has lost its GPU counts as dead: Tune replaces it.
    """
    found = {}
    for result in grid or ():
        failures = str(result.error or "").split(FAILURE)[1:]
        if failures and all(map(_death, failures)):
            found[PurePath(result.path).name] = Death(_death(failures[-1]), failures[-1].strip())
    return found


def _death(failure: str) -> str:
    """How the worker process died, in a line; empty if the failure was something else."""
    if ray_private.OUT_OF_MEMORY in failure:
        return next(line for line in failure.splitlines() if ray_private.OUT_OF_MEMORY in line).partition(". ")[0]
    if LOST in failure:
        return failure.rpartition(LOST)[2].partition("\n")[0]
    if ray_private.KILLED in failure:
        return HUNG
    _, died, detail = failure.partition(ray_private.PROCESS_DIED)
    return (detail.partition("Worker exit detail:")[2] or detail).strip().partition("\n")[0] if died else ""
