"""The k highest of scores that lie in many shards, found by counting: exact, in two passes, nothing gathered.

float32 is mapped to uint32 in the same order. Counting the upper 16 bits of all scores finds the bin of the k-th
highest and how many are needed from it; counting the lower 16 bits of that bin's scores then finds its value. Counts
add up over shards, so that each can be counted anywhere, and only their sum is held. If some of the scores that equal
the k-th highest must go, a third pass counts them: one number per shard.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from autosparse.errors import AutosparseError

BINS = 1 << 16


@dataclass(frozen=True)
class Cut:
    """Where the scores are cut: scores above the cut stay, and the first :attr:`kept` of the scores equal to it."""

    bits: int
    """Ordered bits of the k-th highest score."""
    kept: int
    equal: int
    """How many scores equal it."""

    def share(self, equal: Sequence[int]) -> tuple[int, ...]:
        """Per shard in order, how many of its scores that equal the cut stay, its first ones.

        :param equal: per shard in order, how many there are.
        """
        counts = np.asarray(equal, np.int64)
        before = counts.cumsum() - counts
        return tuple(map(int, (self.kept - before).clip(0, counts)))


def add_up(counts: Iterable[np.ndarray]) -> np.ndarray:
    """The sum of counts, int64 (BINS,), in whatever order they come; one at a time is held."""
    total = np.zeros(BINS, np.int64)
    for each in counts:
        total += each
    return total


def ordered_bits(scores: np.ndarray) -> np.ndarray:
    """float32 (n,) -> uint32 (n,) that compare as the floats do; -0.0 equals 0.0, infinities are fine.

    Raises :class:`AutosparseError` if a score is NaN.
    """
    if len(scores) and np.isnan(scores.max()):
        raise AutosparseError("scores contain NaN: nothing can be ranked; check the features and the scorer")
    bits = (scores + np.float32(0)).view(np.int32)  # -0.0 + 0.0 is 0.0
    flip = bits >> 31  # all ones if negative: those are ordered backwards
    flip |= np.int32(-(1 << 31))
    bits ^= flip
    return bits.view(np.uint32)


def count_high(bits: np.ndarray) -> np.ndarray:
    """How many have each upper half: uint32 (n,) -> int64 (BINS,)."""
    return np.bincount(bits >> np.uint32(16), minlength=BINS)


def count_low(bits: np.ndarray, high: int) -> np.ndarray:
    """How many of those whose upper half is ``high`` have each lower half: uint32 (n,) -> int64 (BINS,)."""
    inside = bits[bits >> np.uint32(16) == high]
    return np.bincount(inside & np.uint32(BINS - 1), minlength=BINS)


def find_bin(counts: np.ndarray, k: int) -> tuple[int, int]:
    """The bin of the k-th highest, 1 <= k <= the sum of ``counts``, and how many are needed from that bin."""
    from_top = counts[::-1].cumsum()
    place = int(from_top.searchsorted(k))
    return len(counts) - 1 - place, k - int(from_top[place - 1] if place else 0)


def make_cut(high: int, low: np.ndarray, needed: int) -> Cut:
    """The cut that keeps ``needed`` of the scores whose upper half is ``high``, and all of those above.

    :param low: what :func:`count_low` gives, summed over all shards.
    :param needed: from :func:`find_bin`; 0 keeps none of that bin, which must then hold the highest score.
    """
    place, kept = find_bin(low, max(needed, 1))
    return Cut(high << 16 | place, kept if needed else 0, int(low[place]))


def keep_above(bits: np.ndarray, cut: int, ties: int) -> np.ndarray:
    """Which scores stay: those above ``cut`` and the first ``ties`` that equal it; uint32 (n,) -> bool (n,)."""
    kept = bits > cut
    kept[(bits == cut).nonzero()[0][:ties]] = True
    return kept
