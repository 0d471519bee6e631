"""Keep what the workers of a shard stream report: attempts, signs of life, failures.

Keep imports few: the process that holds the board loads this.
"""

from collections import Counter


class Board:
    """Lives in a process of its own, so that it outlives the workers, and needs no folder that all of them see.

    ``run`` names a stream. Ray's own counts do not replace it. If memory runs out and Ray ends a worker, it may begin
    the task again without counting that, as often as it likes. It does not tell the task how often it has begun.
    """

    def __init__(self) -> None:
        self.attempts: dict[str, Counter[int]] = {}
        self.beats: dict[str, Counter[int]] = {}
        self.failed: set[str] = set()

    def open(self, run: str) -> None:
        """Let workers begin, or begin again after a failure; the counts of attempts stay."""
        self.attempts.setdefault(run, Counter())
        self.beats[run] = Counter()
        self.failed.discard(run)

    def close(self, run: str) -> None:
        """Forget the stream, whose workers have all ended, or must now stop."""
        self.attempts.pop(run, None)
        self.beats.pop(run, None)
        self.failed.add(run)

    def begin(self, run: str, shard: int) -> int:
        """Note an attempt at a shard; return how many there were before."""
        before = self.attempts[run][shard] if run in self.attempts else 0
        if not self.beat(run, shard):
            self.attempts[run][shard] += 1
        return before

    def beat(self, run: str, shard: int) -> bool:
        """Note a sign of life; return whether the worker must stop."""
        if run in self.failed or run not in self.beats:
            return True
        self.beats[run][shard] += 1
        return False

    def done(self, run: str, shard: int) -> None:
        """Forget a shard."""
        for counts in (self.attempts, self.beats):
            if run in counts:
                del counts[run][shard]

    def fail(self, run: str) -> None:
        """Tell all workers of the stream to stop."""
        self.failed.add(run)

    def signs(self, run: str) -> dict[int, int]:
        """The shards that are under way, and how many signs of life each has given."""
        return dict(self.beats.get(run, {}))
