"""A job in its worker process: the function that Ray Tune runs as a trial."""

import platform
import traceback
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from ray import get_gpu_ids, get_runtime_context, tune
from threadpoolctl import threadpool_limits

from autosparse.data.split import Dataset
from autosparse.errors import AutosparseError, CannotWrite, CorruptFile, NonFiniteLoss, Unreachable
from autosparse.experiment.environment import describe_device
from autosparse.experiment.plan import dataset_of
from autosparse.experiment.record import Json
from autosparse.experiment.sources import code_of
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell, IrpTask, ScorerTask, Task, task_from
from autosparse.runner.jobs.arrays import from_arrays
from autosparse.runner.jobs.events import Reports
from autosparse.runner.jobs.given import Given, GivenJobs
from autosparse.runner.jobs.pulse import pulse
from autosparse.runner.work.cells import run_cells
from autosparse.runner.work.do import do, inputs_whole
from autosparse.runner.work.train_cells import attempt
from autosparse.users_code import place_of_error

Outcome = tuple[Task, Json | Exception]


def run_job(config: dict[str, Any], given: GivenJobs) -> None:
    """Do the tasks of one job and report them; finished ones are skipped, failed ones recorded.

    A task that fails because of the storage is not recorded: a damaged input, or an object store that did not
    answer, says nothing about the task, and another try may succeed.

    If the storage cannot be written, a last report says why under ``stop``.

    :param config: ``{"job": index}``.
    :raises Exception: at the end, the storage's error, if some tasks failed because of it.
    :raises DeviceLost: if the device is lost: at once, and the task is not recorded. The driver marks a task as failed
        if it loses the device even with no other job running.
    """
    try:
        with pulse():
            _do_job(config["job"], given)
    except CannotWrite as error:
        tune.report({"stop": f"{error} (on {platform.node()})"})


def _do_job(job: int, given: GivenJobs) -> None:
    store, device, environment = set_up(given)
    tasks = [task_from(kind, spec) for kind, spec in given.jobs[job]]
    for task in tasks:
        code_of(task)  # now, while it is what was imported: the user may edit it while the job runs
    finished = store.records(tasks).keys()
    failures = {task.id: store.failure(task) for task in tasks if task.id not in finished}
    failed = {task_id for task_id, failure in failures.items() if failure and failure != given.failures.get(task_id)}
    done = finished | failed
    todo = [task for task in tasks if task.id not in done]
    names = {name for task in todo if (name := dataset_of(task))}
    datasets = {name: from_arrays(given.datasets[name]).to(device) for name in names}
    reports = Reports([task.id for task in tasks if task.id in done], failed, given.side_by_side)
    away: Exception | None = None
    for task, outcome in _outcomes(todo, store, datasets, device, given, reports):
        if isinstance(outcome, CannotWrite):
            raise outcome
        if isinstance(outcome, Unreachable) or (isinstance(outcome, Exception) and not inputs_whole(task, store)):
            away = outcome
        else:
            reports.finish(task, _record(task, outcome, store, environment))
    reports.end()
    if away:
        raise away


def set_up(given: Given) -> tuple[Store, str, Json]:
    """Make this worker process ready; returns the storage, the device, and the environment for the records."""
    torch.set_num_threads(1)  # one core per job: results do not depend on how many jobs share the machine
    threadpool_limits(1)  # Ray lets libraries use all CPUs of a job, but those beside the first are its loaders'
    device, node = "cuda" if get_gpu_ids() else "cpu", get_runtime_context().get_node_id()
    return given.store(), device, {**given.environment, **describe_device(device), "node": node}


def _outcomes(
    tasks: Sequence[Task], store: Store, datasets: dict[str, Dataset], device: str, given: GivenJobs, reports: Reports
) -> Iterator[Outcome]:
    """Yield the results of a job's tasks as they come. A failure concerns its task alone, and may be tried again."""
    gpu_share = min(1.0, given.environment.get("gpus_per_job") or 1.0)

    def at(cells: Sequence[Cell], share: float | None) -> None:
        reports.progress(cells, {} if share is None else {"share": share})

    def tried(tasks: Sequence[Task], together: int | None) -> Iterator[Outcome]:
        if cells := [task for task in tasks if isinstance(task, Cell)]:
            how: dict[str, Any] = {"on_progress": at, "share": gpu_share, "checkpoint_every": given.checkpoint_every}
            for done in run_cells(cells, store, datasets[cells[0].dataset], device, together, given.execution, **how):
                yield from done
        for task in tasks:
            if isinstance(task, IrpTask | ScorerTask):
                dataset = datasets[task.dataset] if task.dataset else None
                reports.progress([task], {})
                tell, every = partial(reports.progress, [task]), given.checkpoint_every
                yield task, attempt(do, task, store, dataset, device, tell, given.execution, gpu_share, every)

    for left in range(given.retries, -1, -1):
        again: list[Task] = []
        for task, outcome in tried(tasks, None if left == given.retries else 1):  # alone, if not for the first time
            if left and may_pass(outcome, device):
                again.append(task)
            else:
                yield task, outcome
        tasks = again


def may_pass(outcome: Json | Exception, device: str) -> bool:
    """Whether the outcome is a failure that may not happen again; on a CPU, the same loss becomes NaN again."""
    if isinstance(outcome, Unreachable | CorruptFile):
        return True
    if isinstance(outcome, NonFiniteLoss):
        return device != "cpu"
    return isinstance(outcome, Exception) and not isinstance(outcome, AutosparseError)


def _record(task: Task, outcome: Json | Exception, store: Store, environment: Json) -> Json | Exception:
    """Record the outcome of a task, and return it: it becomes an error if the result cannot be recorded.

    That a cell was resumed in this process says where it ran, so it goes to the environment, not into the result.
    """
    if not isinstance(outcome, Exception):
        where = {name: value for name, value in outcome.items() if name == "resumed_from"}
        outcome = {name: value for name, value in outcome.items() if name not in where}
        try:
            store.finish(task, outcome, environment | where)
            return outcome
        except (CannotWrite, Unreachable):
            raise
        except AutosparseError as error:  # something else lies where its record belongs
            outcome = error
    place = place_of_error(outcome)
    at = f" at {place}" if place else ""
    text = str(outcome) if isinstance(outcome, AutosparseError) else f"{type(outcome).__name__}: {outcome}{at}"
    store.fail(task, text, "".join(traceback.format_exception(outcome)), environment)
    return outcome
