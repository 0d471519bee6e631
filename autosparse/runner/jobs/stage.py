"""One stage of an experiment on Ray Tune: jobs of tasks of one kind, run side by side."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from ray import tune

from autosparse.errors import Unreachable, WorkFailed
from autosparse.experiment.plan import dataset_of
from autosparse.experiment.record import Record
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import IrpTask, Task
from autosparse.runner.driver.session import job_count
from autosparse.runner.jobs.arrays import Arrays
from autosparse.runner.jobs.cost import Weights
from autosparse.runner.jobs.deaths import first_error, worker_deaths
from autosparse.runner.jobs.given import GivenJobs, Means
from autosparse.runner.jobs.hang import Hangs
from autosparse.runner.jobs.job import run_job
from autosparse.runner.jobs.loaders import with_loaders
from autosparse.runner.jobs.packing import pack
from autosparse.runner.jobs.signs import Signs
from autosparse.runner.jobs.tune_quiet import Halt, Unsaved, fit, resources_of
from autosparse.runner.screen.tally import Event

DEATHS = 2
"""Deaths of workers that a job survives."""
DEATHS_ALONE = 1
"""The same for a job whose only task is tried for the last time."""


class _Events(Unsaved, tune.Callback):
    """Hands each report of a job to the driver's handler, and tells it when a job has stopped running."""

    def __init__(self, handler: Callable[[Event], None]):
        self.handler = handler

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Called by Tune for each report."""
        self.handler(cast(Event, result))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune when a job's worker has died and another will take the job over."""
        self.handler({"trial_id": trial.trial_id, "running": []})

    on_trial_error = on_trial_recover
    """Called by Tune when it gives a job up."""


def run_stage(tasks: Sequence[Task], cost: Weights, means: Means) -> str:
    """Do ``tasks`` as Tune trials on reused actors; returns when each has finished, failed, or been given up.

    Tune replaces a worker that dies, and its job goes on after the tasks it had finished. A worker that hangs is ended
    (see :class:`autosparse.runner.jobs.signs.Signs`), which is a death like any other. A job that loses too many
    workers is given up, and what is left is packed again, as long as anything gets done. Then each task is tried once
    more as its own job, so that a task that kills its workers cannot hold up the others. If it kills them even with no
    job beside it, it has failed.

    :return: why tasks were given up; empty if none was.
    :raises WorkFailed: if a worker could not write to the storage.
    """
    store, settings = means.store, means.settings
    known = store.failures(tasks)
    names = {dataset_of(task) for task in tasks}
    datasets, cpus = with_loaders({name: data for name, data in means.datasets.items() if name in names}, settings)
    hangs = Hangs(Signs(tasks, cost, settings.patience), means.on_event)

    def run(jobs: Sequence[Sequence[Task]], deaths: int) -> tune.ResultGrid | None:
        return _run_jobs(jobs, means, known, datasets, cpus, hangs, deaths)

    def still(tasks: Sequence[Task]) -> list[Task]:
        finished, failures = store.finished_now(tasks), store.failures(tasks)
        kept = _steps(store)
        for task in tasks:
            if task.id in finished and task.id in kept:  # its worker died before it removed the states
                store.states(task).clear()
        return [task for task in tasks if task.id not in finished and failures.get(task.id) == known.get(task.id)]

    left, alone = list(tasks), False
    while left:
        before = _reached(left, store)
        jobs = [[task] for task in left] if alone else pack(left, job_count(settings, cpus), cost)
        grid = run(jobs, DEATHS_ALONE if alone else DEATHS)
        left = still(left)
        if _reached(left, store) == before:
            if alone:
                _fail_killers(jobs, grid, run, means)
                return first_error(grid) if still(left) else ""
            alone = True
    return ""


def _fail_killers(
    jobs: Sequence[Sequence[Task]],
    grid: tune.ResultGrid | None,
    run: Callable[[Sequence[Sequence[Task]], int], tune.ResultGrid | None],
    means: Means,
) -> None:
    """Try each task that killed its workers with no other job beside it; mark it as failed if it does so again."""
    store, deaths = means.store, worker_deaths(grid)
    for [task] in [job for index, job in enumerate(jobs) if _name(index) in deaths]:
        before = _reached([task], store)
        death = worker_deaths(run([[task]], DEATHS_ALONE) if len(jobs) > 1 else grid).get(_name(0))
        if death is None or store.record(task) is not None or _reached([task], store) != before:
            continue
        error = f"its worker process died each time, also with no job beside it: {death.told.rstrip('.')}; {death.cure}"
        store.fail(task, error, death.traceback, means.environment)
        means.on_event({"task_ids": [task.id], "failed": [task.id]})


def _reached(tasks: Sequence[Task], store: Store) -> dict[str, int]:
    """Number of steps that are kept of each task, by task id."""
    found = _steps(store)
    return {task.id: _step(task, store) if isinstance(task, IrpTask) else found.get(task.id, 0) for task in tasks}


def _steps(store: Store) -> dict[str, int]:
    try:
        return store.steps()
    except Unreachable:  # the jobs report that
        return {}


def _step(task: IrpTask, store: Store) -> int:
    try:
        found = store.states(task).newest()
    except Unreachable:  # the task's own job reports that; here it must not stop the others
        return 0
    return found.step if found else 0


def _run_jobs(
    jobs: Sequence[Sequence[Task]],
    means: Means,
    failures: dict[str, Record],
    datasets: dict[str, Arrays],
    cpus: int,
    hangs: Hangs,
    deaths: int,
) -> tune.ResultGrid | None:
    """Run ``jobs`` on Tune. A task has finished if its record says so, whatever Tune says.

    :param failures: from before the stage; they do not keep a task from being tried again.
    :param datasets: those of ``means`` that the stage uses, with the number of their loaders.
    :param cpus: of each job.
    :param deaths: how many deaths of its workers a job survives.
    """
    tasks, at_a_time = [task for job in jobs for task in job], job_count(means.settings, cpus)
    given = GivenJobs(
        **means.given,
        checkpoint_every=means.settings.checkpoint_every,
        jobs=[[(task.kind, task.spec) for task in job] for job in jobs],
        datasets={name: datasets[name] for task in tasks if (name := dataset_of(task))},
        side_by_side=at_a_time,
        failures={task.id: failures[task.id] for task in tasks if task.id in failures},
    )
    choosing = tune.TuneConfig(
        reuse_actors=True,
        max_concurrent_trials=at_a_time,
        trial_dirname_creator=lambda trial: _name(trial.config["job"]),
    )
    space = {"job": tune.grid_search(list(range(len(jobs))))}
    resources, callbacks, halt = resources_of(cpus, means.settings), [_Events(means.on_event), hangs], Halt()
    grid = fit(run_job, given, resources, space, choosing, callbacks, halt, deaths, means.store.root)
    if halt.reason:
        raise WorkFailed(f"{halt.reason}; then run the same command to go on")
    return grid


def _name(index: int) -> str:
    return f"job-{index:05d}"
