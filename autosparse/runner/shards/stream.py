"""Work on many shards with Ray Data, and watch it: every failure ends the work and names its shard.

The unit of work is a shard. A row of the dataset is a file's name; the worker reads, computes and writes by itself,
chunk by chunk. So rows keep their order, memory is bounded whatever the size of a shard, no data pass through the
object store, and a shard's result is written whole or not at all. Nothing else needs a CPU, so the pool may hold all.

Ray Data starts the workers, and begins again what died with one of them. It leaves three things to us. It ends with
the first error of a task, and its error does not name the row; so a worker returns its error as a row. Ray does not
count the attempts that a lack of memory ended, and limits them per task or actor rather than per shard; so we count
the attempts at each shard. Neither has a limit for work that hangs; so workers give signs of life. They tell attempts
and signs to a board, see :class:`autosparse.runner.shards.board.Board`.
"""

import contextlib
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from autosparse.errors import WorkFailed
from autosparse.runner.driver.session import worker_count
from autosparse.runner.settings import Settings
from autosparse.runner.shards.actor import STOPPED, Actor, Signs, Work, do_row
from autosparse.runner.shards.board import Board
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
        self,
        work: Work,
        rows: list[dict[str, Any]],
        signs: Signs,
        workers: int,
        actors: bool,
        gpus: float,
        placement: dict[str, Any],
    ) -> Iterator[dict[str, Any]]:
        import ray.data  # here: it takes seconds

        ray.data.DataContext.get_current().enable_progress_bars = False
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        given: dict[str, Any] = {"work": work, "signs": signs}
        how: dict[str, Any] = {"batch_size": 1, "num_cpus": 1, **placement}
        if actors:
            pool = ray.data.ActorPoolStrategy(size=min(workers, len(rows)), max_tasks_in_flight_per_actor=1)
            how |= {"num_gpus": gpus, "max_restarts": RESTARTS, "max_task_retries": -1}
            done = dataset.map_batches(Actor, fn_constructor_kwargs=given, compute=pool, **how)
        else:
            tasks = ray.data.TaskPoolStrategy(size=workers)
            done = dataset.map_batches(do_row, fn_kwargs=given, compute=tasks, max_retries=RESTARTS, **how)
        yield from done.iter_rows()


COORDINATORS: dict[str, Any] = {}
"""The coordinator of each connection to Ray, kept because its start takes seconds."""
BOARDS: dict[str, Any] = {}


_Board = ray.remote(num_cpus=0, max_restarts=0)(Board)


class _GaveUp(WorkFailed):
    """Ray gave up; the work did not fail."""


class ShardStream:
    """Does work on shards with :meth:`map`; an error stops all that is under way."""

    def __init__(self, settings: Settings, patience: float = PATIENCE):
        self.patience, self.workers, self.gpus = patience, worker_count(settings), settings.gpus_per_job
        self.placement = settings.placement

    def map(self, work: Work, shards: Sequence[Shard], actors: bool = False) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the index of each of ``shards`` with its counts, in the order in which they are done.

        :param actors: use actors, which keep ``work`` and have the GPUs that the settings give each job; otherwise
            tasks, which start sooner because Ray keeps their processes.
        :raises WorkFailed: if the work on a shard raised an error, its worker died three times, or nothing moved for
            ``patience`` seconds; it names the shard.
        """
        rows = [
            {"number": number, "folder": shard.folder, "name": shard.name, "rows": [shard.start, shard.rows]}
            for number, shard in enumerate(shards)
        ]
        signs, done = Signs(_board(), secrets.token_hex(8)), set[int]()
        try:
            for left in reversed(range(ROUNDS)):
                signs.tell("open")
                missing = [row for row in rows if row["number"] not in done]
                try:
                    for number, counts in self._go_on(work, missing, actors, shards, signs):
                        done.add(number)
                        yield number, counts
                    break
                except _GaveUp:
                    if not left:
                        raise
        except ray.exceptions.RayActorError as error:
            raise WorkFailed(
                "the process that keeps count of the shards has died: it was killed, or memory ran out; the same "
                "command goes on"
            ) from error
        finally:
            with contextlib.suppress(ray.exceptions.RayError):
                signs.tell("close")
        if len(done) < len(shards):
            lost = next(shard for number, shard in enumerate(shards) if number not in done)
            raise WorkFailed(f"{lost}: no result came back; see Ray's logs")

    def _go_on(
        self, work: Work, rows: list[dict[str, Any]], actors: bool, shards: Sequence[Shard], signs: Signs
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Do the work on ``rows``. An error of a worker is raised only once no other worker is writing."""
        coordinator = _beside_driver(_Coordinator, COORDINATORS)
        results = coordinator.run.options(num_returns="streaming").remote(
            work, rows, signs, self.workers, actors, self.gpus if actors else 0, self.placement
        )
        errors: list[str] = []
        try:
            for row in self._watched(results, shards, signs):  # also after an error
                if row["error"]:
                    errors.append(row["error"])
                else:
                    yield row["number"], np.frombuffer(row["counts"], np.int64)
        except BaseException as error:  # Ctrl-C, too
            ray.kill(coordinator)
            del COORDINATORS[ray.get_runtime_context().get_job_id()]
            if not isinstance(error, _GaveUp) or not set(errors) - {STOPPED}:
                raise
        if errors:
            raise WorkFailed(next((error for error in errors if error != STOPPED), STOPPED))

    def _watched(self, results: Any, shards: Sequence[Shard], signs: Signs) -> Iterator[dict[str, Any]]:
        seen, moved = signs.tell("signs"), time.monotonic()
        while True:
            ready, _ = ray.wait([results], timeout=1.0)
            if ready:
                try:
                    yield ray.get(next(results))
                except StopIteration:
                    return
                except ray.exceptions.RayError as error:
                    reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
                    raise _GaveUp(f"Ray gave up{_under_way(seen, shards)}: {reason}") from error
                moved = time.monotonic()
            elif (now := signs.tell("signs")) != seen:
                seen, moved = now, time.monotonic()
            elif time.monotonic() - moved > self.patience:
                raise WorkFailed(
                    f"nothing moved for {self.patience:.0f} s{_under_way(seen, shards)}: is the storage slow, or does "
                    "other work hold the CPUs (or GPUs) that the workers need?"
                )


def _under_way(signs: dict[int, int], shards: Sequence[Shard]) -> str:
    begun = [str(shards[number]) for number in sorted(signs)]
    return f" at {', '.join(begun)}" if begun else " before the first shard was begun"


def _board() -> Any:
    """The board of this connection to Ray; a new one, if the last has died."""
    board = _beside_driver(_Board, BOARDS)
    try:
        ray.get(board.__ray_ready__.remote())
    except ray.exceptions.RayActorError:
        del BOARDS[ray.get_runtime_context().get_job_id()]
        board = _beside_driver(_Board, BOARDS)
    return board


def _beside_driver(kind: Any, kept: dict[str, Any]) -> Any:
    """An actor on the driver's node, so that the death of another does not end it; one per connection to Ray."""
    job = ray.get_runtime_context().get_job_id()
    if job not in kept:
        beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        kept[job] = kind.options(scheduling_strategy=beside).remote()
    return kept[job]
