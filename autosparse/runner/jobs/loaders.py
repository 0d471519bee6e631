"""Choose how many processes decode images for a job that streams them from files, and tell Ray about their CPUs.

A job asks Ray for one CPU and one per process. By default there are as many as the job's share of the smallest node
that can run it allows, at most 8, and none without a GPU. So all jobs that share a node's GPUs still fit there, a job
fits on every such node, and no CPU is promised twice. A data set in memory has no such processes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from autosparse.data.stream import MOST_WORKERS, StreamedSplit, workers_from_environment
from autosparse.runner.driver.session import jobs_on
from autosparse.runner.jobs.arrays import Arrays
from autosparse.runner.nodes import alive_nodes
from autosparse.runner.settings import Settings

UNSEEN = 1
"""Processes per job if the cluster has no node yet that could run one."""


class Node(NamedTuple):
    """What a node of the cluster has, in whole numbers."""

    cpus: int
    gpus: int


def most_loaders(gpus_per_job: float, asked: int | None = None) -> int:
    """Processes that a job with streamed images starts if there is room.

    :param asked: what the user wants; None: ``AUTOSPARSE_LOADER_WORKERS``, else 8 beside a GPU and 0 on a CPU.
    """
    if asked is None:
        asked = workers_from_environment()
    return asked if asked is not None else (MOST_WORKERS if gpus_per_job else 0)


def loaders_per_job(asked: int | None, settings: Settings, nodes: Sequence[Node]) -> int:
    """Processes of each job; with one CPU more than that, a job fits on each of ``nodes`` that has the GPUs for it.

    :param asked: what the user wants, for which a node may have too few CPUs; None: a job's share of a node's CPUs.
    """
    most = most_loaders(settings.gpus_per_job, asked)
    able = [(node, jobs_on(node.gpus, settings.gpus_per_job) if settings.gpus_per_job else 1) for node in nodes]
    rooms = [
        node.cpus if asked is not None else node.cpus // min(jobs, settings.workers or jobs)
        for node, jobs in able
        if node.cpus and jobs
    ]
    if not rooms:
        return most if asked is not None else min(most, UNSEEN)
    return max(0, min(most, min(rooms) - 1))


def nodes_for(settings: Settings) -> list[Node]:
    """The nodes of the connected cluster that jobs may go to."""
    found = [node["Resources"] for node in alive_nodes(settings.label_selector)]
    return [Node(int(has.get("CPU", 0)), int(has.get("GPU", 0))) for has in found]


def with_loaders(
    datasets: Mapping[str, Arrays], settings: Settings, nodes: Callable[[Settings], Sequence[Node]] = nodes_for
) -> tuple[dict[str, Arrays], int]:
    """The data sets, the streamed ones with the number of their processes, and the CPUs of each job that uses them."""
    splits = [part for data in datasets.values() for part in data.fields.values() if _is_streamed(part)]
    if not splits:
        return dict(datasets), 1
    asked = {split.fields["workers"] for split in splits} - {None}
    count = loaders_per_job(max(asked) if asked else None, settings, nodes(settings))
    given = {}
    for name, data in datasets.items():
        limited = {key: _with_most(part, count) for key, part in data.fields.items() if _is_streamed(part)}
        given[name] = data._replace(fields={**data.fields, **limited})
    return given, 1 + count


def _is_streamed(part: Any) -> bool:
    return isinstance(part, Arrays) and issubclass(part.kind, StreamedSplit)


def _with_most(split: Arrays, count: int) -> Arrays:
    """A streamed split with at most ``count`` processes."""
    asked = split.fields["workers"]
    return split._replace(fields={**split.fields, "workers": count if asked is None else min(count, asked)})
