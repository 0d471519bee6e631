"""How a worker ended: its process died, Ray or we killed it, its GPU was lost, or its work raised an error.

A node's death is none of these: Tune starts its trials again elsewhere, and ``stage.py`` counts how often.
"""

from pathlib import PurePath
from typing import NamedTuple

from ray import tune

from autosparse.devices import DeviceLost
from autosparse.runner import ray_private
from autosparse.runner.settings import PATIENCE_VARIABLE

LOST = f"{DeviceLost.__name__}: "
"""How the traceback of a process that lost its device ends."""
HUNG = "it gave no sign of life, or made no progress, for too long"
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
            return "fix what its traceback names, and use --retry-failed"
        if self.told == HUNG:
            return f"check that the disks that it reads respond, or raise {PATIENCE_VARIABLE}, and use --retry-failed"
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
