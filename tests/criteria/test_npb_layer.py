"""NPB in one layer: as good as the best of all masks, and as the full integer program."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from npb_reference import most_paths, objective

from autosparse.criteria.npb_layer import layer_mask
from autosparse.seeds import generator


def mask_of(paths, outputs, room, budget, alpha, beta, seed=0):
    """Weights per kernel, (groups, in, out), that ``layer_mask`` keeps for path counts of shape (groups, in)."""
    groups, inputs = paths.shape
    each = torch.tensor(paths, dtype=torch.float64).view(groups, 1, inputs, 1).expand(-1, outputs, -1, room)
    weight = each.reshape(groups * outputs, inputs, room)
    mask = layer_mask(weight, groups, budget, alpha, beta, generator(seed))
    assert mask.shape == weight.shape
    assert int(mask.sum()) == budget
    return mask.view(groups, outputs, inputs, room).sum(-1).transpose(1, 2).numpy()


layers = st.sampled_from(
    [(1, 3, 3, 1), (1, 2, 2, 3), (1, 4, 2, 1), (2, 2, 2, 1), (2, 1, 2, 2), (3, 1, 1, 3), (2, 2, 3, 1)]
)


@settings(max_examples=150)
@given(
    layer=layers,
    draws=st.data(),
    alpha=st.sampled_from([0, 0.01, 0.1, 0.5, 1.0]),
    beta=st.sampled_from([0, 0.3, 1.0]),
)
def test_the_mask_is_as_good_as_the_best_of_all_masks(layer, draws, alpha, beta):
    groups, inputs, outputs, room = layer
    paths = np.array(draws.draw(st.lists(st.integers(1, 9), min_size=groups * inputs, max_size=groups * inputs)))
    paths = paths.reshape(groups, inputs)
    size = groups * inputs * outputs
    budget = draws.draw(st.integers(1, size * room))
    found = objective(mask_of(paths, outputs, room, budget, alpha, beta), paths, room, alpha, beta)
    every = (np.array(m).reshape(groups, inputs, outputs) for m in itertools.product(range(room + 1), repeat=size))
    best = max(objective(m, paths, room, alpha, beta) for m in every if m.sum() == budget)
    assert found == pytest.approx(best, abs=1e-9)


def full_program(paths, outputs, room, budget, alpha, beta):
    """The optimum of the integer program with one variable per kernel, by branch and bound (HiGHS)."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    inputs = len(paths)
    edges = list(itertools.product(range(inputs), range(outputs)))
    size, nodes = len(edges), inputs + outputs
    rows, upper = [], []
    for j in range(nodes):  # node used <= its weights
        row = np.zeros(2 * size + nodes)
        row[2 * size + j] = 1
        row[:size] = [-(e[0] == j or e[1] == j - inputs) for e in edges]
        rows.append(row)
    for e in range(size):  # kernel used <= its weights
        row = np.zeros(2 * size + nodes)
        row[size + e], row[e] = 1, -1
        rows.append(row)
    total = np.concatenate([np.ones(size), np.zeros(size + nodes)])
    most = most_paths(paths, outputs, room, budget)
    gain = np.concatenate(
        [
            [(1 - alpha) * paths[i] / most for i, _ in edges],
            np.full(size, beta / budget),
            np.full(nodes, alpha / nodes),
        ]
    )
    upper = np.concatenate([np.full(size, room), np.ones(size + nodes)])
    answer = milp(
        -gain * budget,
        constraints=[LinearConstraint(np.array(rows), ub=0), LinearConstraint(total, budget, budget)],
        bounds=Bounds(0, upper),
        integrality=np.ones(len(gain)),
        options={"mip_rel_gap": 0},
    )
    assert answer.success
    return -answer.fun / budget


@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("budget", [3, 5, 20, 45, 90, 150])
def test_taking_the_best_gain_first_reaches_the_optimum_of_the_full_program(budget, alpha):
    paths = np.array([9, 9, 7, 5, 5, 5, 2, 1])
    found = objective(mask_of(paths[None], 6, 4, budget, alpha, 1.0), paths[None], 4, alpha, 1.0)
    assert found == pytest.approx(full_program(paths, 6, 4, budget, alpha, 1.0), abs=1e-8)


def test_by_hand_paths_and_nodes_are_weighed_against_each_other():
    paths = np.array([[8, 1]])
    rich, balanced = (mask_of(paths, 4, 1, 4, alpha, 0.0).sum(2).tolist() for alpha in (0.56, 0.58))
    # one node of 6 more, for 8 - 1 of the 4 * 8 paths at most less: worth it from alpha / 6 = (1 - alpha) * 7 / 32
    assert rich == [[4, 0]]
    assert balanced == [[3, 1]]


def test_by_hand_a_sleeping_output_of_another_group_can_be_worth_more_than_paths():
    paths = np.array([[9, 9], [1, 1]])
    greedy, balanced = (mask_of(paths, 3, 1, 6, alpha, 0.0).sum((1, 2)).tolist() for alpha in (0.5, 0.7))
    # after 3 + 2 weights: one node of 10 more, for 9 - 1 of 6 * 9 paths less: worth it from alpha = 0.597
    assert greedy == [4, 2]
    assert balanced == [3, 3]


def test_by_hand_paths_are_a_share_of_what_the_budget_can_carry():
    paths = np.array([[9, 5, 4, 1]])
    rich, balanced = (mask_of(paths, 2, 1, 2, alpha, 0.0).sum(2).tolist() for alpha in (0.5, 0.6))
    # one node of 6 more, for 9 - 5 of 2 * 9 paths less: worth it from alpha = 0.571 (of the dense layer's 38: 0.387)
    assert rich == [[2, 0, 0, 0]]
    assert balanced == [[1, 1, 0, 0]]


def test_places_in_a_kernel_are_drawn_in_proportion_to_the_paths_through_them():
    paths = torch.tensor([3.0, 1.0], dtype=torch.float64).expand(4000, 1, 2)
    mask = layer_mask(paths, 1, 4000, 0.1, 1.0, generator(0))
    assert mask[:, 0, 0].float().mean() == pytest.approx(0.75, abs=0.03)  # 4 standard deviations


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_what_no_path_reaches_is_kept_only_once_all_else_is(alpha):
    paths = torch.tensor([[[2.0, 0.0], [0.0, 0.0], [1.0, 1.0]]], dtype=torch.float64)
    alive = (paths > 0).squeeze(0)
    for budget in range(1, 7):
        mask = layer_mask(paths, 1, budget, alpha, 1.0, generator(budget))[0]
        assert int(mask.sum()) == budget
        assert (mask & alive).sum() == min(budget, 3)


def test_a_node_is_worth_the_mean_of_the_paths_through_those_of_its_places_that_are_reached():
    paths = torch.tensor([[[3.0, 0.0], [2.0, 2.0]]], dtype=torch.float64)
    assert layer_mask(paths, 1, 1, 0.0, 0.0, generator(0)).tolist() == [[[True, False], [False, False]]]
