"""Selection by counting against a sort, and against the in-memory selection."""

import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autosparse.errors import AutosparseError
from autosparse.masks import top_k
from autosparse.shards.sharded_topk import (
    BINS,
    add_up,
    count_high,
    count_low,
    find_bin,
    keep_above,
    make_cut,
    ordered_bits,
)

FLOATS = st.floats(width=32, allow_nan=False)
FEW = st.sampled_from([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, 1e-45, -1e-45, 1.0000001])
SCORES = arrays(np.float32, st.integers(1, 60), elements=FLOATS | FEW)


def select(shards, k):
    """The masks of ``shards`` that keep the k highest scores, as a stream finds them."""
    bits = [ordered_bits(shard) for shard in shards]
    high, needed = find_bin(add_up(map(count_high, bits)), max(k, 1))
    cut = make_cut(high, add_up(count_low(b, high) for b in bits), needed if k else 0)
    equal = [int((b == cut.bits).sum()) for b in bits]
    assert cut.equal == sum(equal)
    return [keep_above(b, cut.bits, ties) for b, ties in zip(bits, cut.share(equal), strict=True)]


@given(SCORES)
def test_bits_are_ordered_as_the_floats(scores):
    bits = ordered_bits(scores)
    assert ((bits[:, None] < bits[None]) == (scores[:, None] < scores[None])).all()


@given(SCORES, st.data())
def test_the_highest_stay_and_among_equals_the_first_whatever_the_shards(scores, data):
    k = data.draw(st.integers(0, len(scores)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(scores)), max_size=4)))
    kept = np.concatenate(select(np.split(scores, cuts), k))
    by_rank = sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i))
    assert set(kept.nonzero()[0]) == set(by_rank[:k])


@given(SCORES, st.data())
def test_it_is_the_selection_of_masks_in_memory(scores, data):
    k = data.draw(st.integers(0, len(scores)))
    assert (select([scores], k)[0] == top_k(torch.from_numpy(scores), k).numpy()).all()


def test_many_close_scores_are_told_apart():
    scores = np.float32(1) + np.arange(200_000, dtype=np.float32)[::-1] * np.float32(2**-23)
    kept = select(np.array_split(scores, 7), 12_345)
    assert np.concatenate(kept).nonzero()[0].tolist() == list(range(12_345))


def test_of_a_thousand_counts_one_at_a_time_is_held_whatever_their_order():
    held, most = weakref.WeakSet(), []

    class Counts(np.ndarray):
        __hash__ = object.__hash__

    def come(order):
        for number in order:
            counts = np.zeros(BINS, np.int64).view(Counts)
            counts[number % 7] = 2**53 + number  # a float64 would lose the last bit
            held.add(counts)
            yield counts
            del counts
            most.append(len(held))

    total = add_up(come(range(1000)))
    assert (total == add_up(come(reversed(range(1000))))).all()
    assert (len(most), max(most)) == (2000, 1)
    assert total[:7].tolist() == [sum(2**53 + n for n in range(1000) if n % 7 == place) for place in range(7)]


@pytest.mark.parametrize("size", [1e-45, 1e-38, 0.3, 1.0, 3.0, 1e38])
@pytest.mark.parametrize("sign", [1, -1])
def test_neighbours_are_told_apart_whatever_their_size(size, sign):
    first = np.float32(sign * size)
    row = [first]
    for _ in range(4):
        row.append(np.nextafter(row[-1], np.float32(np.inf)))
    bits = ordered_bits(np.array(row, np.float32))
    assert (bits[:-1] < bits[1:]).all()


def test_nan_is_refused():
    with pytest.raises(AutosparseError, match="NaN"):
        ordered_bits(np.array([1, np.nan, -np.inf], np.float32))
