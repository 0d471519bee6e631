"""Packing tasks into jobs: one job is what one process does in a row."""

from collections.abc import Sequence

from autosparse.experiment.tasks import Cell, Task
from autosparse.files import canonical_json

JOBS_PER_WORKER = 4
"""More, smaller jobs even out the end of a stage; fewer, larger ones spend less on starting trials."""


def pack(tasks: Sequence[Task], workers: int) -> list[list[Task]]:
    """Cut ``tasks`` into jobs.

    Cells that share model, dataset and recipe may share a job; every other task is a job of its own.
    """
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        key = task.id
        if isinstance(task, Cell):
            shared = task.model_dump(mode="json", include={"model", "dataset", "recipe"})
            key = canonical_json(shared)
        groups.setdefault(key, []).append(task)
    size = max(1, -(-len(tasks) // (workers * JOBS_PER_WORKER)))
    return [group[start : start + size] for group in groups.values() for start in range(0, len(group), size)]
