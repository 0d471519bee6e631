"""Selection: which weights stay."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from autosparse.errors import AutosparseError
from autosparse.masks import Masks, keep_count, top_k

LAYERS = st.lists(st.lists(st.integers(-2, 2), min_size=1, max_size=12), min_size=1, max_size=4)
SPARSITY = st.floats(0, 1, exclude_max=True)


def as_scores(layers):
    return {f"layer.{i}": torch.tensor(layer, dtype=torch.float32) for i, layer in enumerate(layers)}


def flat(masks):
    return torch.cat([mask.flatten() for mask in masks.values()]).tolist()


def stable_sort_reference(layers, sparsity, alive=None):
    values = [value for layer in layers for value in layer]
    candidates = [i for i in range(len(values)) if alive is None or alive[i]]
    best_first = sorted(candidates, key=lambda i: -values[i])
    kept = set(best_first[: len(values) - round(len(values) * sparsity)])
    return [i in kept for i in range(len(values))]


@given(LAYERS, SPARSITY)
def test_exactly_the_asked_number_of_weights_stays(layers, sparsity):
    total = sum(map(len, layers))
    assert Masks.from_scores(as_scores(layers), sparsity).kept == total - round(total * sparsity)


@given(LAYERS, SPARSITY)
def test_selection_equals_a_stable_sort(layers, sparsity):
    assert flat(Masks.from_scores(as_scores(layers), sparsity)) == stable_sort_reference(layers, sparsity)


@given(LAYERS, SPARSITY, SPARSITY, st.randoms(use_true_random=False))
def test_selection_within_masks_equals_a_stable_sort_of_what_is_alive(layers, first, second, random):
    fewer, more = sorted((first, second))
    within = Masks.from_scores(as_scores([[random.random() for _ in layer] for layer in layers]), fewer)
    chosen = Masks.from_scores(as_scores(layers), more, within=within)
    assert flat(chosen) == stable_sort_reference(layers, more, flat(within))


def test_ties_keep_the_first_position():
    masks = Masks.from_scores({"b": tensor([[1.0, 1.0], [1.0, 1.0]]), "a": tensor([1.0, 2.0])}, 0.5)
    assert (masks["b"].tolist(), masks["a"].tolist()) == ([[True, True], [False, False]], [False, True])


def test_the_ranking_is_global():
    masks = Masks.from_scores({"small": tensor([0.1, 0.2]), "large": tensor([0.3, 0.4])}, 0.5)
    assert masks.density_by_layer() == {"small": 0.0, "large": 1.0}


@pytest.mark.parametrize(
    ("total", "sparsity", "kept"),
    [(10, 0.5, 5), (1000, 0.95, 50), (266_200, 0.99, 2662), (3, 0.5, 1), (5, 0.5, 3), (7, 0.0, 7), (10, 0.99, 0)],
)
def test_keep_count(total, sparsity, kept):
    assert keep_count(total, sparsity) == kept


@pytest.mark.parametrize("sparsity", [1.0, 1.5, -0.1, 95, float("nan")])
def test_sparsity_outside_the_unit_interval_is_refused(sparsity):
    with pytest.raises(AutosparseError, match=rf"sparsity must be in \[0, 1\).*got {sparsity}"):
        Masks.from_scores({"a": tensor([1.0, 2.0])}, sparsity)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.int8, torch.uint8]
)
def test_scores_of_any_dtype_are_ranked(dtype):
    scores = {"a": tensor([3, 1, 2], dtype=dtype), "b": tensor([0, 5], dtype=dtype)}
    assert flat(Masks.from_scores(scores, 0.4)) == [True, False, True, False, True]


def test_float64_scores_are_ranked_in_float64():
    assert Masks.from_scores({"a": tensor([1.0, 1.0 + 1e-12], dtype=torch.float64)}, 0.5)["a"].tolist() == [False, True]


def test_large_integer_scores_are_not_rounded_to_float32():
    assert Masks.from_scores({"a": tensor([2**24, 2**24 + 1])}, 0.5)["a"].tolist() == [False, True]


def test_layers_of_different_dtypes_are_ranked_together():
    scores = {"a": tensor([1.0, 4.0], dtype=torch.float16), "b": tensor([2.0, 3.0], dtype=torch.float64)}
    assert flat(Masks.from_scores(scores, 0.5)) == [False, True, False, True]


def test_infinite_scores_are_ranked():
    scores = {"a": tensor([0.0, -torch.inf, torch.inf, torch.inf])}
    assert Masks.from_scores(scores, 0.25)["a"].tolist() == [True, False, True, True]


def test_scores_that_need_a_gradient_are_accepted():
    assert Masks.from_scores({"a": tensor([1.0, 2.0], requires_grad=True)}, 0.5)["a"].tolist() == [False, True]


def test_nan_is_refused_by_the_name_of_its_layer():
    with pytest.raises(AutosparseError, match=r"scores of 'b\.weight' contain NaN"):
        Masks.from_scores({"a": tensor([1.0]), "b.weight": tensor([1.0, torch.nan])}, 0.5)


@pytest.mark.parametrize("scores", [{}, {"a": torch.empty(0)}])
def test_empty_scores_are_refused(scores):
    with pytest.raises(AutosparseError, match="no scores to select from"):
        Masks.from_scores(scores, 0.5)


def test_within_counts_every_weight():
    within = Masks({"a": tensor([True, False, True, True])})
    assert Masks.from_scores({"a": tensor([1.0, 9.0, 3.0, 2.0])}, 0.5, within)["a"].tolist() == [
        False,
        False,
        True,
        True,
    ]


def test_within_that_holds_too_few_is_refused():
    with pytest.raises(AutosparseError, match=r"3 weights must stay at sparsity 0\.25, but only 1 are left"):
        Masks.from_scores({"a": torch.rand(4)}, 0.25, within=Masks({"a": tensor([True, False, False, False])}))


@pytest.mark.parametrize("within", [Masks({}), Masks({"a": torch.ones(2, 2)})])
def test_within_of_another_network_is_refused(within):
    with pytest.raises(AutosparseError, match="masks do not fit the scores: 'a' is"):
        Masks.from_scores({"a": torch.rand(4)}, 0.25, within=within)


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=20), st.integers(-1, 22))
def test_top_k_equals_a_stable_sort(values, k):
    best_first = sorted(range(len(values)), key=lambda i: -values[i])[: max(k, 0)]
    assert top_k(torch.tensor(values), k).tolist() == [i in best_first for i in range(len(values))]


def test_counts_and_densities():
    masks = Masks({"a": tensor([True, False, False, False]), "b": tensor([[True, True]])})
    assert (masks.total, masks.kept, masks.density, masks.sparsity) == (6, 3, 0.5, 0.5)
    assert masks.density_by_layer() == {"a": 0.25, "b": 1.0}


def test_collapsed_layers_are_those_of_which_nothing_is_left():
    masks = Masks({"a": tensor([False]), "b": tensor([True, False]), "c": tensor([[False, False]])})
    assert masks.collapsed_layers() == ["a", "c"]


def test_repr_says_what_is_kept():
    masks = Masks({"a": tensor([True, False, False, False])})
    assert repr(masks) == "Masks(1 layers, 1 of 4 weights kept, sparsity 0.7500)"


def test_masks_are_equal_when_every_entry_is():
    a, b = (Masks({"w": torch.tensor([True, False])}) for _ in range(2))
    assert a == b
    assert a != Masks({"w": torch.tensor([True, True])})
    assert a != Masks({"v": torch.tensor([True, False])})


def test_a_layer_that_within_keeps_but_nothing_scores_is_refused():
    within = Masks({"a": torch.ones(2, dtype=torch.bool), "b": torch.ones(2, dtype=torch.bool)})
    with pytest.raises(AutosparseError, match="no score for 'b'"):
        Masks.from_scores({"a": torch.tensor([1.0, 2.0])}, 0.5, within=within)


def test_shuffling_keeps_each_layers_count_and_follows_the_seed():
    masks = Masks({"a": torch.arange(40).view(5, 8) < 7, "b": torch.ones(3, dtype=torch.bool)})
    shuffled = masks.shuffled(1)
    assert {name: int(mask.sum()) for name, mask in shuffled.items()} == {"a": 7, "b": 3}
    assert shuffled["a"].shape == (5, 8)
    assert shuffled == masks.shuffled(1)
    assert shuffled != masks.shuffled(2)
    assert shuffled != masks
