"""Exact counts, no empty group, and the scores of weights that follow."""

import pytest
import torch
from channel_nets import NETS
from hypothesis import assume, given
from hypothesis import strategies as st

from autosparse.channels import Group, channel_groups, select_channels, weight_scores
from autosparse.errors import AutosparseError
from autosparse.masks import Masks


def groups_of(*sizes):
    return [Group(size, rows=[f"layer{i}"]) for i, size in enumerate(sizes)]


@given(st.lists(st.lists(st.integers(-2, 2), min_size=1, max_size=9), min_size=1, max_size=6), st.floats(0, 0.99))
def test_the_count_is_exact_and_every_group_keeps_its_best(values, sparsity):
    groups, scores = groups_of(*map(len, values)), [torch.tensor(v) for v in values]
    assume(any(map(any, values)))  # all zeros are refused
    total = sum(map(len, values))
    count = total - round(total * sparsity)
    if count < len(groups):
        with pytest.raises(AutosparseError, match=f"leaves {count} of {total} channels"):
            select_channels(groups, scores, sparsity)
        return
    kept = select_channels(groups, scores, sparsity)
    assert sum(int(keep.sum()) for keep in kept) == count
    assert all(keep[score.argmax()] for keep, score in zip(kept, scores, strict=True))


def test_the_best_channels_of_the_network_stay_and_ties_go_by_position():
    scores = [torch.tensor([5.0, 9.0, 5.0]), torch.tensor([0.0, 1.0]), torch.tensor([5.0, 8.0])]
    kept = select_channels(groups_of(3, 2, 2), scores, 2 / 7)
    assert [keep.tolist() for keep in kept] == [[True, True, True], [False, True], [False, True]]


def test_a_sparsity_too_high_for_the_groups_is_refused_with_the_highest_that_is_not():
    groups, scores = groups_of(10, 10, 10), [torch.rand(10)] * 3
    with pytest.raises(AutosparseError, match=r"leaves 2 of 30 .* each of the 3 groups .* ask for at most 0\.9"):
        select_channels(groups, scores, 0.95)
    assert [int(keep.sum()) for keep in select_channels(groups, scores, 0.9)] == [1, 1, 1]


def test_nan_is_refused():
    with pytest.raises(AutosparseError, match="channel scores of 'layer1' contain NaN"):
        select_channels(groups_of(2, 2), [torch.ones(2), torch.tensor([1.0, torch.nan])], 0.5)


def test_all_zeros_are_refused():
    with pytest.raises(AutosparseError, match="every score of the channels is 0, so nothing can be ranked"):
        select_channels(groups_of(2, 2), [torch.zeros(2)] * 2, 0.5)


@given(st.sampled_from(sorted(NETS)), st.floats(0, 0.7), st.integers(0, 99))
def test_masks_prune_whole_channels_only_and_leave_the_last_layer_its_outputs(net, sparsity, seed):
    model, draws = NETS[net](), torch.Generator().manual_seed(seed)
    groups = channel_groups(model)
    scores = [torch.rand(group.size, generator=draws) for group in groups]
    kept = select_channels(groups, scores, sparsity)
    masks = Masks.where_scored(weight_scores(model, groups, scores, kept))
    assert masks.collapsed_layers() == []
    assert masks["head.weight"].any(1).all()
    for group, keep in zip(groups, kept, strict=True):
        for layer in group.rows:
            assert torch.equal(masks[f"{layer}.weight"].flatten(1).any(1), keep)
        for layer in group.columns:
            mask = masks[f"{layer}.weight"]
            assert torch.equal(mask.reshape(len(mask), group.size, -1).any(2).any(0), keep)
    one_sided = {name: ~mask for name, mask in masks.items()}  # pruned entries form whole rows and columns
    for name, pruned in one_sided.items():
        grid = pruned.flatten(2).any(2) if pruned.dim() > 2 else pruned
        assert torch.equal(grid, grid.all(1, keepdim=True) | grid.all(0, keepdim=True)), name


def test_a_weight_scores_what_its_output_channel_does():
    model = NETS["viewed"]()
    groups = channel_groups(model)
    scores = [torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5]), torch.arange(6) / 10]
    found = weight_scores(model, groups, scores, [torch.tensor([0, 1, 1, 1, 1]).bool(), torch.ones(6).bool()])
    inf = torch.inf
    assert found["conv.weight"][:, 0, 0, 0].tolist() == pytest.approx([-inf, 0.2, 0.3, 0.4, 0.5])
    assert found["hidden.weight"][3, [0, 3, 4, 19]].tolist() == pytest.approx([-inf, -inf, 0.3, 0.3])
    assert (found["head.weight"] == inf).all()
