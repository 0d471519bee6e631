"""Keeping Tune quiet: its reporter off the terminal (results go to stdout, messages to stderr, and both are ours), the
credentials of this process out of its logs, and its pickles unread."""

import contextlib
import io
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from ray import tune
from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.experiment import Trial

from autosparse.files import refusing_unwritable
from autosparse.runner.jobs.signs import VARIABLE
from autosparse.runner.work.gpu_check import DeviceLost

_tunes_own = RayActorManager._actor_task_failed


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """No line of Tune's on stdout or in its log within the block, no credentials sent to workers, no pickle read."""
    _keep_credentials()
    Trial.get_pickled_error = lambda self: None  # it lies on the storage; the text beside it says the same
    RayActorManager._actor_task_failed = _task_failed
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
    """Make a tuner, and ``fit()`` it, silenced; ``scratch``, where it writes, is removed.

    None if Tune gave up waiting for the resources of a node that had died. It looks for them again within each look
    (``RayActorManager.next``), a thousand deep, while Ray says both that they are there and that they are not. Records
    say what has been done by then.
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


DIED, SHORT, ENDED = "worker process has died.", "running low on memory", "killed by `ray.kill`"
"""What Ray says of an actor that ended with its process, and not with its node; by Ray's own hand; or by ours."""
LOST = f"{DeviceLost.__name__}: "
"""How a traceback ends where a process that can do no more ends itself."""
HUNG = "it gave no sign of life, or got nowhere, for too long"
"""How we tell of a worker that was ended for that."""
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
    """In a line."""
    traceback: str
    """All that is known."""

    @property
    def cure(self) -> str:
        """What may help."""
        if LOST in self.traceback:
            return "mend what its traceback names, and use --retry-failed"
        if self.told == HUNG:
            return f"see that the disks that it reads answer, or set {VARIABLE} to more, and use --retry-failed"
        return "give it more memory, or smaller batches, and use --retry-failed"


def worker_deaths(grid: tune.ResultGrid | None) -> dict[str, Death]:
    """The last death of each trial that ended every time by the death of a worker process, by the trial's folder.

    One that has lost its GPU is as good as dead: Tune replaces it.
    """
    found = {}
    for result in grid or ():
        failures = str(result.error or "").split(FAILURE)[1:]
        if failures and all(map(_death, failures)):
            found[PurePath(result.path).name] = Death(_death(failures[-1]), failures[-1].strip())
    return found


def _death(failure: str) -> str:
    """How the worker process died, in a line; empty if something else was wrong."""
    if SHORT in failure:
        return next(line for line in failure.splitlines() if SHORT in line).partition(". ")[0]
    if LOST in failure:
        return failure.rpartition(LOST)[2].partition("\n")[0]
    if ENDED in failure:
        return HUNG
    _, died, detail = failure.partition(DIED)
    return (detail.partition("Worker exit detail:")[2] or detail).strip().partition("\n")[0] if died else ""


def _task_failed(manager: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
    """To Tune, a worker that Ray killed for want of memory is a worker that died; by itself it would end them all."""
    if isinstance(exception, OutOfMemoryError):
        exception = RayActorError(error_msg=str(exception))
    _tunes_own(manager, tracked_actor_task=tracked_actor_task, exception=exception)


def _keep_credentials() -> None:
    """Ray writes what Tune sends to workers into a log on each node: `AWS_` keys, too. Nodes have their own."""
    from ray.tune.execution import class_cache

    class_cache.ENV_VARS_TO_PROPAGATE = {
        name for name in class_cache.ENV_VARS_TO_PROPAGATE if not name.startswith("AWS_")
    }
