"""Do one shard in a worker process, or report its error; give it up if workers die of it. Imports little."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from autosparse.errors import AutosparseError, WorkFailed
from autosparse.shards import Shard

ATTEMPTS = 3
"""How often a shard is begun before it is given up."""

STOPPED, FAILED = "stopped, because another shard failed", ".failed"

Beat = Callable[[], None]
Work = Callable[[Shard, Beat], np.ndarray]
"""Does one shard, calls the beat now and then, and returns int64 counts."""


class Actor:
    """Does shards in a Ray process that keeps what they share: a scorer."""

    def __init__(self, work: Work, signs: str):
        self.work, self.signs = work, signs

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """See :func:`do_row`."""
        return do_row(batch, self.work, self.signs)


def do_row(batch: dict[str, np.ndarray], work: Work, signs: str) -> dict[str, list[Any]]:
    """Turn a row with a shard into a row with its counts, or with what went wrong."""
    number, shard = int(batch["number"][0]), Shard(Path(batch["path"][0]), *map(int, batch["rows"][0]))
    counts, error = b"", ""
    try:
        counts = _attempt(shard, work, Path(signs) / f".attempts-{number:05d}").tobytes()
    except AutosparseError as known:
        error = str(known)
    except Exception as unknown:
        error = f"{shard.path}: {type(unknown).__name__}: {unknown}"
    if error:
        (Path(signs) / FAILED).touch()
    return {"number": [number], "counts": [counts], "error": [error]}


def _attempt(shard: Shard, work: Work, sign: Path) -> np.ndarray:
    """Do a shard. ``sign`` outlives this process: its bytes count attempts, its time is the last sign of life."""
    begun = sign.read_bytes() if sign.exists() else b""
    if len(begun) == ATTEMPTS:
        raise WorkFailed(
            f"{shard.path}: the worker died {ATTEMPTS} times on this shard, perhaps for want of memory; "
            "see Ray's logs, and try fewer --workers"
        )
    failed = sign.with_name(FAILED)

    def beat() -> None:
        if failed.exists():
            raise WorkFailed(STOPPED)
        sign.touch()

    beat()
    sign.write_bytes(begun + b".")
    counts = work(shard, beat)
    sign.unlink()
    return counts
