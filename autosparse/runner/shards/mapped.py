"""Rows from many files with Ray Data, in the order of the files, in bounded memory; a failure ends it and says why.

A row of the dataset is an item's number; a task reads the item's files by itself and returns rows. Only these pass
through the object store. The dataset fills at most IN_STORE bytes of it ahead of the reader.
"""

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import ray
from torch import Tensor

from autosparse.autos.streamed.read import Columns
from autosparse.errors import AutosparseError, WorkFailed, first_line
from autosparse.runner.driver.session import worker_count
from autosparse.runner.settings import Settings
from autosparse.runner.shards.stream import PATIENCE

ERROR = "error"
"""The column of a batch that says what went wrong, as bytes."""
IN_STORE = 1 << 30
"""Bytes of rows in the object store."""
END = object()


class RayMapped:
    """Work on items in Ray tasks of one CPU each. Ray must be connected.

    :param patience: seconds without any rows after which the work is given up, because Ray begins an item anew without
        end if its worker dies.
    """

    def __init__(self, settings: Settings, patience: float = PATIENCE):
        self.workers, self.placement, self.patience = worker_count(settings), settings.placement, patience

    def __call__(self, work: Callable[[Any], Columns], items: Sequence[Any]) -> Iterator[Mapping[str, Tensor]]:
        """See :data:`autosparse.autos.streamed.rows.Mapped`.

        :raises WorkFailed: if the work on an item raised an error, or nothing came for ``patience`` seconds.
        """
        batches = self._batches(work, items)
        while (batch := _next(batches, self.patience)) is not END:
            if ERROR in batch:
                raise WorkFailed(bytes(batch[ERROR].numpy()).decode())
            yield batch

    def _batches(self, work: Callable[[Any], Columns], items: Sequence[Any]) -> Iterator[Any]:
        import ray.data  # here: it takes seconds

        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        context = ray.data.DataContext.get_current().copy()
        context.enable_progress_bars = False
        options = context.execution_options
        options.preserve_order = True
        options.resource_limits = options.resource_limits.copy(object_store_memory=IN_STORE)
        with ray.data.DataContext.current(context):
            numbers = ray.data.from_items([{"item": i} for i in range(len(items))], override_num_blocks=len(items))
            done = numbers.map_batches(
                _do,
                fn_kwargs={"work": work, "items": ray.put(list(items))},
                batch_size=1,
                compute=ray.data.TaskPoolStrategy(size=min(self.workers, len(items))),
                num_cpus=1,
                **self.placement,
            )
            batches = iter(done.iter_torch_batches(batch_size=None))
        yield from batches


def _do(batch: Columns, work: Callable[[Any], Columns], items: Any) -> Columns:
    """The rows of one item, or what went wrong: Ray would print pages about an error in the user's code."""
    try:
        return work(ray.get(items)[int(batch["item"][0])])
    except AutosparseError as known:
        error = str(known)
    except Exception as unknown:
        error = f"rows of states: {type(unknown).__name__}: {first_line(unknown)}"
    return {ERROR: np.frombuffer(error.encode(), np.uint8)}


def _next(batches: Iterator[Any], patience: float) -> Any:
    """The next batch, or END.

    :raises WorkFailed: if none comes in time, or Ray gives up.
    """
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found.put(next(batches, END))
        except BaseException as error:
            found.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        batch = found.get(timeout=patience)
    except queue.Empty:
        raise WorkFailed(
            f"no rows of states came for {patience:.0f} s: is the storage slow, or does other work hold the CPUs?"
        ) from None
    if isinstance(batch, BaseException):
        reason = (str(batch).strip().splitlines() or [type(batch).__name__])[-1]
        raise WorkFailed(f"Ray gave up reading rows of states: {reason}") from batch
    return batch
