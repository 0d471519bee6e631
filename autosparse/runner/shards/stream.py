"""Work on many shards with Ray Data, and watch it: every failure ends the work and names its shard.

The unit of work is a shard. A row of the dataset is a file's name; the actor reads, computes and writes by itself,
chunk by chunk. So rows keep their order, memory is bounded whatever the size of a shard, no data pass through the
object store, and a shard's result is written whole or not at all. Nothing else needs a CPU, so the pool may hold all.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from autosparse.errors import WorkFailed
from autosparse.runner.driver.session import worker_count
from autosparse.runner.settings import Settings
from autosparse.runner.shards.actor import FAILED, STOPPED, Actor, Work, do_row
from autosparse.shards import Shard

PATIENCE = 900.0
"""Seconds without a sign of life after which the work is given up."""
RESTARTS = 8
"""How often each actor may be restarted, for whatever reason."""
ROUNDS = 3
"""How often Ray Data is tried: it gives up if a node dies that held one of its own actors."""


@ray.remote(num_cpus=0, max_restarts=0)
class _Coordinator:
    """Runs the datasets in a separate process: all that it started ends with it."""

    def run(
        self, work: Work, rows: list[dict[str, Any]], signs: str, workers: int, actors: bool, gpus: float
    ) -> Iterator[dict[str, Any]]:
        import ray.data  # here: it takes seconds

        ray.data.DataContext.get_current().enable_progress_bars = False
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        options = {"work": work, "signs": signs}
        if actors:
            pool = ray.data.ActorPoolStrategy(size=min(workers, len(rows)), max_tasks_in_flight_per_actor=1)
            done = dataset.map_batches(
                Actor,
                fn_constructor_kwargs=options,
                batch_size=1,
                compute=pool,
                num_cpus=1,
                num_gpus=gpus,
                max_restarts=RESTARTS,
                max_task_retries=-1,
            )
        else:
            tasks = ray.data.TaskPoolStrategy(size=workers)
            done = dataset.map_batches(
                do_row, fn_kwargs=options, batch_size=1, compute=tasks, num_cpus=1, max_retries=RESTARTS
            )
        yield from done.iter_rows()


COORDINATORS: dict[str, Any] = {}
"""The coordinator of each connection to Ray, kept because its start takes seconds."""


class _GaveUp(WorkFailed):
    """Ray gave up; the work did not fail."""


class ShardStream:
    """Does work on shards with :meth:`map`; an error stops all that is under way.

    :param signs: a folder that all workers see, for their signs of life.
    """

    def __init__(self, settings: Settings, signs: Path, patience: float = PATIENCE):
        self.signs, self.patience = signs, patience
        self.workers, self.gpus = worker_count(settings), settings.gpus_per_job

    def map(self, work: Work, shards: Sequence[Shard], actors: bool = False) -> list[np.ndarray]:
        """The counts of each shard, in the order of ``shards``.

        :param actors: use actors, which keep ``work`` and have the GPUs that the settings give each job; otherwise
            tasks, which start sooner because Ray keeps their processes.
        :raises WorkFailed: if the work on a shard raised an error, its worker died three times, or nothing moved for
            ``patience`` seconds; it names the shard.
        """
        rows = [
            {"number": number, "path": str(shard.path), "rows": [shard.start, shard.rows]}
            for number, shard in enumerate(shards)
        ]
        found: dict[int, np.ndarray] = {}
        for left in reversed(range(ROUNDS)):
            (self.signs / FAILED).unlink(missing_ok=True)
            try:
                self._go_on(work, [row for row in rows if row["number"] not in found], actors, shards, found)
                break
            except _GaveUp:
                if not left:
                    raise
        if len(found) < len(shards):
            missing = next(shard.path for number, shard in enumerate(shards) if number not in found)
            raise WorkFailed(f"{missing}: no result came back; see Ray's logs")
        return [found[number] for number in range(len(shards))]

    def _go_on(
        self,
        work: Work,
        rows: list[dict[str, Any]],
        actors: bool,
        shards: Sequence[Shard],
        found: dict[int, np.ndarray],
    ) -> None:
        """Do ``rows``, and put their counts into ``found``."""
        context = ray.get_runtime_context()
        job = context.get_job_id()
        if job not in COORDINATORS:  # on the driver's node, so that the death of another does not end it
            beside = NodeAffinitySchedulingStrategy(context.get_node_id(), soft=True)
            COORDINATORS[job] = _Coordinator.options(scheduling_strategy=beside).remote()  # type: ignore[attr-defined]
        results = (
            COORDINATORS[job]
            .run.options(num_returns="streaming")
            .remote(work, rows, str(self.signs), self.workers, actors, self.gpus if actors else 0)
        )
        errors: list[str] = []
        try:
            for row in self._watched(results, shards):  # even after an error, until no worker writes any more
                if row["error"]:
                    errors.append(row["error"])
                else:
                    found[row["number"]] = np.frombuffer(row["counts"], np.int64)
        except BaseException as error:  # Ctrl-C, too
            ray.kill(COORDINATORS.pop(job))
            if not isinstance(error, _GaveUp) or not set(errors) - {STOPPED}:
                raise
        if errors:
            raise WorkFailed(next((error for error in errors if error != STOPPED), STOPPED))

    def _watched(self, results: Any, shards: Sequence[Shard]) -> Iterator[dict[str, Any]]:
        seen, moved = self._last_signs(), time.monotonic()
        while True:
            ready, _ = ray.wait([results], timeout=1.0)
            if ready:
                try:
                    yield ray.get(next(results))
                except StopIteration:
                    return
                except ray.exceptions.RayError as error:
                    reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
                    raise _GaveUp(f"Ray gave up{self._under_way(shards)}: {reason}") from error
                moved = time.monotonic()
            elif (signs := self._last_signs()) != seen:
                seen, moved = signs, time.monotonic()
            elif time.monotonic() - moved > self.patience:
                raise WorkFailed(
                    f"nothing moved for {self.patience:.0f} s{self._under_way(shards)}: is the storage slow, or does "
                    "other work hold the CPUs (or GPUs) that the workers need?"
                )

    def _last_signs(self) -> dict[str, float]:
        found = {}
        for path in self.signs.glob(".attempts-*"):
            with contextlib.suppress(FileNotFoundError):  # its shard is done
                found[path.name] = path.stat().st_mtime
        return found

    def _under_way(self, shards: Sequence[Shard]) -> str:
        begun = [shards[int(name.rpartition("-")[2])].path for name in sorted(self._last_signs())]
        return f" at {', '.join(map(str, begun))}" if begun else " before the first shard was begun"
