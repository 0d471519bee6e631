"""Work on one shard in a worker process.

Report its error, or give the shard up if it keeps killing its workers. Keep imports few: every worker loads this.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from autosparse.errors import AutosparseError, WorkFailed
from autosparse.shards import Shard

ATTEMPTS = 3
"""How often a shard is begun before it is given up."""
BETWEEN = 1.0
"""Least seconds between two signs of life of a worker."""

STOPPED = "stopped, because another shard failed"

Beat = Callable[[], None]
Work = Callable[[Shard, Beat], np.ndarray]
"""Does one shard, calls the beat now and then, and returns int64 counts."""


@dataclass(frozen=True)
class Signs:
    """A worker's way to tell the board of one stream."""

    board: Any
    """The handle of a :class:`autosparse.runner.shards.board.Board`."""
    run: str

    def tell(self, what: str, *given: Any) -> Any:
        """Call the board, and wait for its answer."""
        import ray

        return ray.get(getattr(self.board, what).remote(self.run, *given))


class Actor:
    """Does shards in a Ray process that keeps what they share: a scorer."""

    def __init__(self, work: Work, signs: Signs):
        self.work, self.signs = work, signs

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """See :func:`do_row`."""
        return do_row(batch, self.work, self.signs)


def do_row(batch: dict[str, np.ndarray], work: Work, signs: Signs) -> dict[str, list[Any]]:
    """Turn a row with a shard into a row with its counts, or with what went wrong."""
    folder, name = (str(batch[key][0]) for key in ("folder", "name"))
    number, shard = int(batch["number"][0]), Shard(folder, name, *map(int, batch["rows"][0]))
    counts, error = b"", ""
    try:
        counts = _attempt(shard, work, signs, number).tobytes()
    except AutosparseError as known:
        error = str(known)
    except Exception as unknown:
        error = f"{shard}: {type(unknown).__name__}: {unknown}"
    if error:
        signs.tell("fail")
    return {"number": [number], "counts": [counts], "error": [error]}


def _attempt(shard: Shard, work: Work, signs: Signs, number: int) -> np.ndarray:
    if signs.tell("begin", number) >= ATTEMPTS:
        raise WorkFailed(
            f"{shard}: the worker died {ATTEMPTS} times on this shard, perhaps because memory ran out; "
            "see Ray's logs, and try fewer --workers"
        )
    last = -BETWEEN

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last >= BETWEEN:
            if signs.tell("beat", number):
                raise WorkFailed(STOPPED)
            last = time.monotonic()

    beat()
    counts = work(shard, beat)
    signs.tell("done", number)
    return counts
