"""One stage of an experiment on Ray Tune: jobs of tasks of one kind, run side by side."""

import secrets
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from ray import tune

from autosparse.experiment.store import Record, Store
from autosparse.experiment.tasks import Cell, IrpTask, Task
from autosparse.runner.jobs import Arrays, run_job
from autosparse.runner.packing import pack
from autosparse.runner.session import job_count
from autosparse.runner.settings import Settings
from autosparse.runner.silence import silenced
from autosparse.runner.tally import Event


class _Events(tune.Callback):
    """Hands each report of a job to the driver's handler, and the news that it is no longer at anything."""

    def __init__(self, handler: Callable[[Event], None]):
        self.handler = handler

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune saves its callbacks for a restore, which we never do: records say what is finished

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Called by Tune for each report."""
        self.handler(result)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune where a job's worker has died, and another will take it up."""
        self.handler({"trial_id": trial.trial_id, "running": []})

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune where it is given up."""
        self.handler({"trial_id": trial.trial_id, "running": []})


def run_stage(
    tasks: Sequence[Task],
    store: Store,
    datasets: dict[str, Arrays],
    environment: Record,
    settings: Settings,
    cost: Callable[[Task], float],
    on_event: Callable[[Event], None],
    plugins: Sequence[str] = (),
) -> None:
    """Do ``tasks`` as Tune trials on reused actors; returns when each has finished or failed.

    A worker that dies is replaced, and its job goes on after the tasks it had finished. Whether a task has
    finished is for its record to say, not for Tune.
    """
    workers = job_count(settings)
    jobs = pack(tasks, workers, cost)
    shared = {
        "jobs": [[(task.kind, task.spec) for task in job] for job in jobs],
        "datasets": {name: datasets[name] for name in {t.dataset for t in tasks if isinstance(t, IrpTask | Cell)}},
        "storage": store.place.address,
        "environment": environment,
        "execution": settings.execution,
        "plugins": plugins,
        "retries": settings.retries,
    }
    scratch = store.root / "tune" / secrets.token_hex(4)
    trainable = tune.with_resources(
        tune.with_parameters(run_job, shared=shared), {"cpu": 1, "gpu": settings.gpus_per_job}
    )
    tuner = tune.Tuner(
        trainable,
        param_space={"job": tune.grid_search(list(range(len(jobs))))},
        tune_config=tune.TuneConfig(
            reuse_actors=True,
            max_concurrent_trials=workers,
            trial_dirname_creator=lambda trial: f"job-{trial.config['job']:05d}",
        ),
        run_config=tune.RunConfig(
            name=scratch.name,
            storage_path=str(scratch.parent),
            verbose=0,
            callbacks=[_Events(on_event)],
            failure_config=tune.FailureConfig(max_failures=2),
        ),
    )
    try:
        with silenced():
            tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
