"""ERK: exact budgets, and densities in the promised proportion."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_nets import make

from autosparse.criteria import prune
from autosparse.criteria.random_erk import erk_counts

shape = st.one_of(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 5), st.integers(1, 5)),
)


@given(st.lists(shape, min_size=1, max_size=6), st.floats(0, 0.999))
def test_counts_add_up_to_the_budget_and_fit_their_layers(shapes, sparsity):
    named = {str(i): s for i, s in enumerate(shapes)}
    counts = erk_counts(named, sparsity)
    total = sum(math.prod(s) for s in shapes)
    assert sum(counts.values()) == total - round(total * sparsity)
    assert all(0 <= counts[name] <= math.prod(s) for name, s in named.items())


def test_densities_are_in_the_proportion_of_the_paper():
    counts = erk_counts({"a": (100, 200), "b": (300, 100), "c": (50, 20, 3, 3)}, 0.9)
    density = {"a": counts["a"] / 20_000, "b": counts["b"] / 30_000, "c": counts["c"] / 9_000}
    assert density["a"] / density["b"] == pytest.approx((300 / 20_000) / (400 / 30_000), rel=0.01)
    assert density["a"] / density["c"] == pytest.approx((300 / 20_000) / (76 / 9_000), rel=0.01)


def test_a_layer_that_would_be_too_dense_is_kept_whole_and_the_others_share_the_rest():
    counts = erk_counts({"big": (300, 784), "mid": (100, 300), "last": (10, 100)}, 0.9)
    assert counts["last"] == 1000
    assert counts["big"] / counts["mid"] == pytest.approx(1084 / 400, rel=0.001)


def test_the_masks_have_the_counts_and_follow_the_seed():
    model = make("conv")
    masks = prune(model, "random-erk", 0.6, seed=1)
    counts = erk_counts({name: tuple(mask.shape) for name, mask in masks.items()}, 0.6)
    assert {name: int(mask.sum()) for name, mask in masks.items()} == counts
    assert masks == prune(model, "random-erk", 0.6, seed=1)
    assert masks != prune(model, "random-erk", 0.6, seed=2)
