"""Keeping Tune quiet: its reporter off the terminal (results go to stdout, talk to stderr, and both are ours), and the
credentials of this process out of its logs."""

import contextlib
import io
import logging
import sys
from collections.abc import Iterator
from pathlib import PurePath

from ray import tune
from ray.exceptions import RayActorError


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """No line of Tune's on stdout or in its log within the block, and no credentials sent to workers."""
    _keep_credentials()
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
        sys.stdout.flush()


def fit(tuner: tune.Tuner) -> tune.ResultGrid | None:
    """``tuner.fit()``, silenced. None where Tune gave up waiting for the resources of a node that had died.

    It looks for them again within each look (``RayActorManager.next``), a thousand deep, while Ray says both that they
    are there and that they are not. Records say what has been done by then.
    """
    with silenced():
        try:
            return tuner.fit()
        except RecursionError:
            return None


def first_error(grid: tune.ResultGrid | None) -> str:
    """What ended the first trial that did not end well, in a sentence."""
    if grid is None or not grid.errors:
        return ""
    return str(grid.errors[0]).strip().splitlines()[-1].split(". ")[0]


def worker_deaths(grid: tune.ResultGrid | None) -> dict[str, str]:
    """Of the trials that ended with the death of a worker process (not of its node), by their folders: how it died."""
    found = {}
    for result in grid or ():
        _, died, detail = str(result.error).partition("worker process has died.")
        if died and isinstance(result.error, RayActorError):
            found[PurePath(result.path).name] = detail.partition("Worker exit detail:")[2].strip() or detail.strip()
    return found


def _keep_credentials() -> None:
    """Ray writes what Tune sends to workers into a log on each node: `AWS_` keys, too. Nodes have their own."""
    from ray.tune.execution import class_cache

    class_cache.ENV_VARS_TO_PROPAGATE = {
        name for name in class_cache.ENV_VARS_TO_PROPAGATE if not name.startswith("AWS_")
    }
