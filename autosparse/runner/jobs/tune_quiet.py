"""Keep Tune's reporter off the terminal, where stdout is for our results and stderr for our messages; keep credentials
out of its logs; and read none of its pickles."""

import contextlib
import io
import logging
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ray import tune

from autosparse.files import refusing_unwritable
from autosparse.runner import ray_private
from autosparse.runner.settings import Settings


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


class Unsaved:
    """Saves nothing of what Tune would save for a restore, which we never do: records say what is finished."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Halt(Unsaved, tune.Stopper):
    """Ends all trials once ``reason`` is set, by a report's ``stop`` or by the driver."""

    reason: Any = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Called by Tune for each report."""
        self.reason = self.reason or result.get("stop")
        return bool(self.reason)

    def stop_all(self) -> bool:
        """Asked by Tune now and then."""
        return bool(self.reason)


def resources_of(cpus: int, settings: Settings) -> tune.PlacementGroupFactory:
    """What each trial needs: CPUs, GPUs, and a node with the labels."""
    labels = dict(settings.label_selector)
    where = {"bundle_label_selector": [labels]} if labels else {}
    return tune.PlacementGroupFactory([{"CPU": cpus, "GPU": settings.gpus_per_job}], **where)


def fit(
    work: Callable[..., None],
    given: Any,
    resources: tune.PlacementGroupFactory,
    space: dict[str, Any],
    choosing: tune.TuneConfig,
    callbacks: Sequence[tune.Callback],
    halt: Halt,
    failures: int,
    root: Path,
) -> tune.ResultGrid | None:
    """Have Tune call ``work(config, given=given)`` for each trial, silenced; then remove the folder where it wrote.

    :param space, choosing: what the configurations are drawn from, and how.
    :param failures: how often Tune restarts a trial.
    :param root: the folder in which Tune's own is made.

    Returns None if Tune gave up waiting for the resources of a node that had died: ``RayActorManager.next`` calls
    itself a thousand deep while Ray says both that they are there and that they are not. Records say what is done.
    """
    scratch = root / "tune" / secrets.token_hex(4)
    trainable = tune.with_resources(tune.with_parameters(work, given=given), resources)
    how = tune.RunConfig(
        name=scratch.name,
        storage_path=str(scratch.parent),
        verbose=0,
        callbacks=list(callbacks),
        stop=halt,
        failure_config=tune.FailureConfig(max_failures=failures),
    )
    try:
        with silenced():
            with refusing_unwritable(scratch):
                tuner = tune.Tuner(trainable, param_space=space, tune_config=choosing, run_config=how)
            return tuner.fit()
    except RecursionError:
        return None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
