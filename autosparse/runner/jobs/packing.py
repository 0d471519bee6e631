"""Pack tasks into jobs: a job is what one process does in a row."""

from collections.abc import Callable, Iterator, Sequence

from autosparse.experiment.tasks import Cell, Task
from autosparse.files import canonical_json

SMALLEST = 32
"""No job is cut smaller than one worker's share divided by this. Starting a job takes a sixth of a second; waiting for
the last one takes as long as that job does."""


def pack(tasks: Sequence[Task], workers: int, cost: Callable[[Task], float]) -> list[list[Task]]:
    """Cut ``tasks`` into jobs, to be started in this order by ``workers`` at a time.

    Each job takes half of its worker's share of the cost that is left, so that large jobs come first and small ones
    even out the end (guided self-scheduling, Polychronopoulos & Kuck 1987). Cells that share model, dataset and recipe
    may share a job, those of one network and method side by side; every other task is a job of its own.
    """
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(_shared(task), []).append(task)
    left = sum(map(cost, tasks))
    floor = left / workers / SMALLEST
    jobs: list[list[Task]] = []
    for group in sorted(groups.values(), key=lambda group: -max(map(cost, group))):
        rest = iter(sorted(group, key=_neighbours))
        while job := _take(rest, max(left / workers / 2, floor), cost):
            jobs.append(job)
            left -= sum(map(cost, job))
    return jobs


def _take(tasks: Iterator[Task], share: float, cost: Callable[[Task], float]) -> list[Task]:
    """The next tasks, until they cost ``share``; at least one, if there are any."""
    taken: list[Task] = []
    for task in tasks:
        taken.append(task)
        share -= cost(task)
        if share <= 0:
            break
    return taken


def _shared(task: Task) -> str:
    """A key that tasks have in common if they may share a job."""
    if not isinstance(task, Cell):
        return task.id
    return canonical_json(task.model_dump(mode="json", include={"model", "dataset", "recipe"}))


def _neighbours(task: Task) -> str:
    """A key that sorts cells of one network and method side by side: they share their scores, or their IRP run."""
    return canonical_json(task.model_dump(mode="json", exclude={"sparsity", "level"}))
