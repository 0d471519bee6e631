"""Inputs that a criterion or the model cannot take; and dropout and half precision, which they can."""

import pytest
import torch
from small_nets import data, make
from torch import nn

from autosparse.criteria import prune, score
from autosparse.errors import AutosparseError


@pytest.mark.parametrize("name", ["snip", "grasp", "prospr", "force", "synflow", "3sp"])
def test_a_batch_of_another_shape_is_named(name):
    wrong = [(torch.zeros(3, 1, 5, 5, dtype=torch.float64), torch.zeros(3, dtype=torch.int64))]
    with pytest.raises(AutosparseError, match=r"does not take a batch of shape \(3, 1, 5, 5\), torch.float64"):
        prune(make("conv"), name, 0.5, wrong)


def test_a_batch_of_another_type_is_named():
    wrong = [(torch.zeros(3, 1, 4, 4), torch.zeros(3, dtype=torch.int64))]
    with pytest.raises(AutosparseError, match=r"does not take a batch of .* torch.float32 on cpu"):
        score(make("conv"), "snip", wrong)


@pytest.mark.parametrize("wrong", [[torch.zeros(3, 1, 4, 4)], data()[0], [(torch.zeros(2, 3), torch.zeros(3))]])
def test_what_is_no_batch_is_told_of(wrong):
    with pytest.raises(AutosparseError, match=r"batches must be an iterable of \(x, y\)"):
        score(make("linear"), "snip", wrong)


def test_a_failure_that_is_not_the_batch_s_is_left_as_it_is():
    def failing(logits, y):
        raise RuntimeError("no loss")

    with pytest.raises(RuntimeError, match="no loss"):
        score(make("linear"), "snip", data(), failing)


@pytest.mark.parametrize("name", ["synflow", "npb", "random-erk", "prospr-first-order", "3sp"])
def test_a_model_without_weights_is_refused(name):
    with pytest.raises(AutosparseError):
        prune(nn.Sequential(nn.Flatten(), nn.ReLU()), name, 0.5, data())


@pytest.mark.parametrize("name", ["synflow", "npb"])
def test_no_batch_has_no_shape_of_an_input(name):
    with pytest.raises(AutosparseError, match="empty"):
        prune(make("linear"), name, 0.5, [])


@pytest.mark.parametrize("name", ["snip", "grasp", "prospr", "force"])
def test_dropout_neither_reads_nor_moves_the_global_generator(name):
    net = nn.Sequential(make("linear")[:3], nn.Dropout(0.5), make("linear")[3])
    masks = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        masks.append(prune(net, name, 0.5, data()))
        assert torch.equal(torch.get_rng_state(), before)
    assert masks[0] == masks[1]


def test_both_passes_of_grasp_drop_out_the_same():
    """With one unit dropped, the weights that lead to and from it have neither gradient nor curvature."""
    net = nn.Sequential(make("linear")[:3], nn.Dropout(0.5), make("linear")[3])
    whole = [(torch.cat([x for x, _ in data()])[:1], data()[0][1][:1])]
    scores = score(net, "grasp", whole)
    dropped = (scores["2.weight"] == 0).all(0)
    assert 0 < dropped.sum() < 7
    assert (scores["0.1.weight"][dropped] == 0).all()


def test_half_precision_scores_do_not_tie():
    batches = [(x.float(), y) for x, y in data(batches=1, size=64)]
    model = make("linear").float()
    full = score(model, "snip", batches)
    half = score(model.bfloat16(), "snip", [(x.bfloat16(), y) for x, y in batches])
    assert all(s.dtype == torch.float32 for s in half.values())
    for layer, s in half.items():
        assert torch.allclose(s, full[layer], rtol=0.1, atol=1e-3)


def test_a_frozen_bias_is_not_trained_on_the_way():
    free, frozen = make("linear"), make("linear")
    frozen[1].bias.requires_grad_(False)
    pair = [score(net, "prospr", data(), lr=0.5) for net in (free, frozen)]
    assert not torch.equal(pair[0]["1.weight"], pair[1]["1.weight"])
