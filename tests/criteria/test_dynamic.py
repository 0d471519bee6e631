"""SET, RigL and GMP: four weights by hand, budgets, schedules, starts, and what is refused."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_nets import PlainTraining, make
from torch import tensor

from autosparse.criteria import prune, score
from autosparse.criteria.drop_and_grow import change_of, drop_fraction, dropped_and_grown, uniform_counts
from autosparse.criteria.gmp import cubic_sparsity, smallest_pruned, smallest_pruned_by_layer
from autosparse.errors import AutosparseError
from autosparse.mask_change import Change
from autosparse.masks import Masks

T, F = True, False


class Long(PlainTraining):
    """A training of 1000 steps, which is only asked for its length."""

    epochs, steps = 10, 1000


def change_by(name, model=None, sparsity=0.5, **options):
    """The start masks of a dynamic method, and the change that it asks the training for."""
    training = Long()
    masks = prune(model or make("conv"), name, sparsity, training=training, **options)
    kind, change = training.then
    assert kind == "change masks"
    return masks, change


@pytest.mark.parametrize(
    ("mask", "weight", "growth", "count", "expected"),
    [
        ([T, T, F, F], [0.1, -2.0, 0.0, 0.0], [0.0, 9.0, 1.0, 3.0], 1, [F, T, F, T]),  # 0.1 goes, growth 3 comes
        ([T, T, F, F], [0.1, -2.0, 0.0, 0.0], [8.0, 9.0, 1.0, 3.0], 1, [T, T, F, F]),  # what goes may come back
        ([T, T, F, F], [0.1, -2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.0], 1, [F, T, T, F]),  # among equals the first
        ([T, T, F, F], [0.1, -2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 3.0], 2, [F, F, T, T]),  # all go
        ([T, T, F, F], [0.1, -2.0, 0.0, 0.0], [9.0, 9.0, 9.0, 9.0], 0, [T, T, F, F]),  # none goes
        ([T, T, T, T], [0.1, -2.0, 3.0, 4.0], [9.0, 9.0, 9.0, 9.0], 2, [T, T, T, T]),  # there is no other
    ],
)
def test_four_weights_dropped_and_grown(mask, weight, growth, count, expected):
    assert dropped_and_grown(tensor(mask), tensor(weight), tensor(growth), count).tolist() == expected


def test_the_drop_fraction_falls_along_a_cosine_from_alpha_to_nothing():
    assert drop_fraction(0, 750, 0.3) == pytest.approx(0.3)
    assert drop_fraction(375, 750, 0.3) == pytest.approx(0.15)
    assert drop_fraction(250, 750, 0.4) == pytest.approx(0.4 / 2 * (1 + math.cos(math.pi / 3)))
    assert drop_fraction(750, 750, 0.3) == pytest.approx(0)


@given(st.data())
def test_a_layer_keeps_its_number_of_weights_and_only_what_was_smaller_goes(data):
    size = data.draw(st.integers(1, 40))
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    draws = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    weight, growth = torch.randn(size, generator=draws) * mask, torch.rand(size, generator=draws)
    count = data.draw(st.integers(0, int(mask.sum())))
    new = dropped_and_grown(mask, weight, growth, count)
    assert new.sum() == mask.sum()
    gone, stayed, came = mask & ~new, mask & new, new & ~mask
    assert gone.sum() <= count
    if gone.any() and stayed.any():
        assert weight[gone].abs().max() <= weight.abs()[mask].sort().values[count - 1]
    if came.any() and (~new & ~mask).any():
        assert growth[came].min() >= growth[~new & ~mask].max()


def test_rigl_grows_by_the_gradient_and_set_at_random():
    model = make("conv")
    gradients = {name: torch.randn_like(w) for name, w in model.named_parameters() if name.endswith("weight")}
    weights = {name: model.get_parameter(name).detach() for name in gradients}
    masks, change = change_by("rigl", model)
    new = change.rule(100, masks, weights, gradients)
    share = drop_fraction(100, 750, 0.3)
    for name, mask in masks.items():
        count = int(share * int(mask.sum()))
        assert torch.equal(new[name], dropped_and_grown(mask, weights[name], gradients[name].abs(), count))
    masks, change = change_by("set", model)
    first, again = (change.rule(100, masks, weights, gradients) for _ in range(2))
    assert first == again
    assert first != change.rule(200, masks, weights, gradients)
    assert first == change.rule(100, masks, weights, {name: -3 * g for name, g in gradients.items()})
    assert first != change_by("set", model, seed=1)[1].rule(100, masks, weights, gradients)


@given(step=st.integers(1, 749), alpha=st.floats(0.01, 1), seed=st.integers(0, 99))
def test_the_density_of_each_layer_is_exact_after_each_change(step, alpha, seed):
    draws = torch.Generator().manual_seed(seed)
    masks = Masks({"a": torch.rand(7, 9, generator=draws) < 0.3, "b": torch.rand(4, 7, generator=draws) < 0.5})
    weights = {name: torch.randn(mask.shape, generator=draws) * mask for name, mask in masks.items()}
    gradients = {name: torch.randn(mask.shape, generator=draws) for name, mask in masks.items()}
    new = change_of(alpha, 1, 750, lambda step, name, g: g.abs()).rule(step, masks, weights, gradients)
    assert {n: int(m.sum()) for n, m in new.items()} == {n: int(m.sum()) for n, m in masks.items()}


@pytest.mark.parametrize("name", ["set", "rigl"])
def test_it_starts_from_the_masks_of_random_erk_or_uniform_ones(name):
    model = make("residual with batchnorm")
    assert change_by(name, model, 0.8, seed=4)[0] == prune(model, "random-erk", 0.8, seed=4)
    masks, _ = change_by(name, model, 0.8, start="uniform", seed=4)
    sizes = {n: m.numel() for n, m in masks.items()}
    assert {n: int(m.sum()) for n, m in masks.items()} == uniform_counts(sizes, 0.8)
    assert masks != change_by(name, model, 0.8, start="uniform", seed=5)[0]


@given(st.lists(st.integers(1, 500), min_size=1, max_size=6), st.floats(0, 0.999))
def test_uniform_counts_add_up_and_differ_from_the_density_by_less_than_a_weight(sizes, sparsity):
    named = {str(i): size for i, size in enumerate(sizes)}
    counts, total = uniform_counts(named, sparsity), sum(sizes)
    budget = total - round(total * sparsity)
    assert sum(counts.values()) == budget
    assert all(abs(counts[name] - size * budget / total) < 1 for name, size in named.items())


@pytest.mark.parametrize("name", ["set", "rigl"])
def test_masks_change_every_100_steps_before_75_percent_of_the_training(name):
    _, change = change_by(name)
    assert [step for step in range(1, 1001) if change.due(step)] == [100, 200, 300, 400, 500, 600, 700]
    _, change = change_by(name, every=30, until=0.09)
    assert [step for step in range(1, 1001) if change.due(step)] == [30, 60]


def test_gmp_prunes_along_a_cubic_curve_and_ends_where_it_is_asked_to():
    assert [cubic_sparsity(t, 4, 0.8) for t in range(6)] == pytest.approx(
        [0, 0.8 * (1 - 27 / 64), 0.8 * (1 - 1 / 8), 0.8 * (1 - 1 / 64), 0.8, 0.8]
    )
    _, change = change_by("gmp", every=200)
    assert [step for step in range(1, 1001) if change.due(step)] == [200, 400, 600, 750]


def test_gmp_removes_the_smallest_of_the_network_or_of_each_layer():
    masks = Masks({"a": tensor([T, T, T, T]), "b": tensor([T, T, F, T])})
    weights = {"a": tensor([1.0, -2.0, 3.0, 4.0]), "b": tensor([0.5, 0.2, 0.0, -0.1])}
    assert smallest_pruned(masks, weights, 0.5) == Masks({"a": tensor([T, T, T, T]), "b": tensor([F] * 4)})
    by_layer = Masks({"a": tensor([F, F, T, T]), "b": tensor([T, T, F, F])})
    assert smallest_pruned_by_layer(masks, weights, 0.5) == by_layer


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.floats(0.1, 0.99), st.sampled_from([1, 3, 7, 40]))
def test_gmp_is_exact_at_every_change_and_its_masks_are_nested(sizes, sparsity, every):
    draws = torch.Generator().manual_seed(len(sizes))
    masks = Masks({str(i): torch.ones(size, dtype=torch.bool) for i, size in enumerate(sizes)})
    for pruned in (smallest_pruned, smallest_pruned_by_layer):
        now = masks
        for step in [*range(every, 40, every), 40]:
            weights = {name: torch.randn(mask.shape, generator=draws) * mask for name, mask in now.items()}
            new = pruned(now, weights, cubic_sparsity(step, 40, sparsity))
            assert new.kept == now.total - round(now.total * cubic_sparsity(step, 40, sparsity))
            assert all(not (mask & ~now[name]).any() for name, mask in new.items())
            now = new


def test_gmp_starts_dense():
    masks, change = change_by("gmp", sparsity=0.9)
    assert masks.kept == masks.total
    assert isinstance(change, Change)


@pytest.mark.parametrize("name", ["set", "rigl", "gmp"])
def test_a_training_too_short_to_change_any_mask_is_refused(name):
    reason = f"'{name}' changes the masks every 100 steps, but only until step 3 of 4, so never: set `every` lower"
    with pytest.raises(AutosparseError, match=reason):
        score(make("conv"), name, sparsity=0.5, training=PlainTraining())


def test_the_step_at_which_nothing_is_dropped_any_more_does_not_count():
    score(make("conv"), "gmp", sparsity=0.5, training=PlainTraining(), every=3)
    with pytest.raises(AutosparseError, match="every 3 steps, but only until step 3 of 4"):
        score(make("conv"), "rigl", sparsity=0.5, training=PlainTraining(), every=3)


@pytest.mark.parametrize("name", ["set", "rigl", "gmp"])
def test_what_is_no_training_is_refused(name):
    with pytest.raises(AutosparseError, match=r"pass training=autosparse\.Trainer"):
        score(make("conv"), name, sparsity=0.5, training=3)


WRONG = [("rigl", {"alpha": 0}), ("set", {"start": "dense"}), ("gmp", {"scope": "row"}), ("gmp", {"until": 0.0})]


@pytest.mark.parametrize(("name", "options"), WRONG)
def test_wrong_options_are_refused(name, options):
    (option,) = options
    with pytest.raises(AutosparseError, match=f"option '{option}' of '{name}' must be"):
        score(make("conv"), name, sparsity=0.5, training=Long(), **options)
