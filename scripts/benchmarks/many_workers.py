"""One process that stands for a thousand workers of Ray Tune: it reports what their jobs would, and trains nothing.

Tune's own loop runs as it is, with a trial for each worker, a request of Ray's to each, and an answer to each. Only two
things are not there: the placement groups, which Ray grants once a worker, and the processes.
"""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray
from ray.air.execution.resources.request import AcquiredResources, ResourceRequest
from ray.air.execution.resources.resource_manager import ResourceManager
from ray.tune.execution import tune_controller

from autosparse.experiment.tasks import Cell, task_from
from autosparse.runner.jobs import events
from autosparse.runner.jobs.events import Reports

SCRIPTS = Path(__file__).parents[1]
EPOCH = 1.0
"""Seconds between two signs of progress within a cell; most of them are not worth a report."""
TOLD: dict[str, Any] = {"done": False, "training_iteration": 1, "time_this_iter_s": 1.0, "time_total_s": 1.0}
TOLD |= {"timestamp": 1_700_000_000, "date": "2023-11-14_22-13-20", "time_since_restore": 1.0, "pid": 12345}
TOLD |= {"hostname": "node", "node_ip": "10.0.0.1", "iterations_since_restore": 1, "config": {"job": 0}}
"""What Tune adds to each report."""
OVER = {"done": True, "__duplicate__": True}
"""What Tune makes of the end of a function."""


class Workers:
    """All workers: an actor of Ray whose methods wait side by side.

    :param jobs: the kind and specification of each job's cells.
    :param seconds: the time that a cell takes.
    :param side_by_side: number of workers, as the driver tells it to each.
    """

    def __init__(self, jobs: Sequence[Sequence[tuple[str, dict[str, Any]]]], seconds: float, side_by_side: int):
        self.jobs = [[task_from(kind, spec) for kind, spec in job] for job in jobs]
        self.seconds, self.side_by_side = seconds, side_by_side
        self.at: dict[int, AsyncIterator[dict[str, Any]]] = {}
        self.sent: list[dict[str, Any]] = []
        events.tune = SimpleNamespace(report=self.sent.append)  # type: ignore[assignment]

    async def call(self, worker: int, method: str, job: int | None = None) -> Any:
        """What Tune asks a worker to do."""
        if job is not None:
            self.at[worker] = self._reports(self.jobs[job])
        return await anext(self.at[worker]) if method == "train" else True

    async def _reports(self, cells: Sequence[Cell]) -> AsyncIterator[dict[str, Any]]:
        """A job's reports; as in a worker, its work goes on when Tune asks for the next one."""
        reports = Reports([], jobs=self.side_by_side)
        for cell in cells:
            reports.progress([cell], {})
            for report in self._taken():
                yield report
            left = self.seconds
            while left > 0:
                await asyncio.sleep(min(left, EPOCH))
                left -= EPOCH
                reports.progress([cell], {"share": 1 - max(left, 0) / self.seconds})
                for report in self._taken():
                    yield report
            reports.finish(cell, {"test_accuracy": 90.0})
        reports.end()
        for report in self._taken():
            yield report
        yield OVER

    def _taken(self) -> list[dict[str, Any]]:
        taken = [{**TOLD, **report} for report in self.sent]
        self.sent.clear()
        return taken


class Worker:
    """The handle of one of the workers, as Tune uses it."""

    def __init__(self, all_workers: Any, number: int):
        self.all_workers, self.number = all_workers, number

    def __getattr__(self, method: str) -> Any:
        def remote(config: Any = None, **_: Any) -> Any:
            job = config.get("job") if isinstance(config, dict) else None
            return self.all_workers.call.remote(self.number, method, job)

        return SimpleNamespace(remote=remote)


class Place(AcquiredResources):
    """A worker's place on the cluster."""

    def __init__(self, request: ResourceRequest, all_workers: Any, number: int):
        self.resource_request, self.all_workers, self.number = request, all_workers, number

    def _annotate_remote_entity(self, entity: Any, bundle: Any, bundle_index: int) -> Any:
        def remote(config: Any = None, **_: Any) -> Worker:
            worker = Worker(self.all_workers, self.number)
            worker.begin.remote(config)
            return worker

        return SimpleNamespace(remote=remote)


class Places(ResourceManager):
    """A cluster that has room for all."""

    def __init__(self, all_workers: Any):
        self.all_workers, self.taken, self.asked = all_workers, 0, Counter[ResourceRequest]()

    def request_resources(self, resource_request: ResourceRequest) -> None:
        """Called by Tune before a worker starts."""
        self.asked[resource_request] += 1

    def cancel_resource_request(self, resource_request: ResourceRequest) -> None:
        """Called by Tune if it needs fewer workers."""
        self.asked[resource_request] -= 1

    def has_resources_ready(self, resource_request: ResourceRequest) -> bool:
        """Whether a worker may start."""
        return self.asked[resource_request] > 0

    def acquire_resources(self, resource_request: ResourceRequest) -> Place:
        """Called by Tune to start a worker."""
        self.asked[resource_request] -= 1
        self.taken += 1
        return Place(resource_request, self.all_workers, self.taken)

    def free_resources(self, acquired_resource: AcquiredResources) -> None:
        """Called by Tune when a worker has ended."""

    def clear(self) -> None:
        """Called by Tune at the end."""


@contextlib.contextmanager
def standing_for_workers(jobs: Sequence[Sequence[Cell]], seconds: float, side_by_side: int) -> Iterator[None]:
    """Let one process stand for Tune's workers within the block; each cell takes them so many seconds."""
    specs = [[(cell.kind, cell.spec) for cell in job] for job in jobs]
    there = {"env_vars": {"PYTHONPATH": os.pathsep.join([str(SCRIPTS), os.environ.get("PYTHONPATH", "")])}}
    actor = ray.remote(Workers).options(num_cpus=0, max_concurrency=10_000, runtime_env=there)
    workers = actor.remote(specs, seconds, side_by_side)
    ray.get(workers.__ray_ready__.remote())
    before = tune_controller.PlacementGroupResourceManager
    tune_controller.PlacementGroupResourceManager = lambda: Places(workers)  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        tune_controller.PlacementGroupResourceManager = before  # type: ignore[misc]
        ray.kill(workers)
