"""SNIP and GraSP averaged over batches, and SNIP on a re-initialised network."""

import pytest
import torch
from small_nets import NETS, data, make

from autosparse.criteria import score
from autosparse.errors import AutosparseError


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", ["snip", "grasp"])
def test_the_mean_over_batches_is_the_mean_of_each_batchs_scores(net, name):
    batches = data(batches=3)
    averaged = score(make(net), f"{name}-mb", batches)
    single = [score(make(net), name, [batch]) for batch in batches]
    for layer, s in averaged.items():
        assert torch.allclose(s, torch.stack([one[layer] for one in single]).mean(0), rtol=1e-10)


def test_gradients_of_opposite_sign_do_not_cancel():
    model = torch.nn.Linear(1, 1, bias=False)
    x, y = torch.ones(1, 1), torch.ones(1, 1)
    batches = [(x, y), (x, -y)]

    def signed(output, target):
        return (output * target).mean()

    assert score(model, "snip", batches, signed)["weight"].item() == 0
    assert score(model, "snip-mb", batches, signed)["weight"].item() == 1


@pytest.mark.parametrize("name", ["snip-mb", "grasp-mb"])
def test_no_batches_are_refused(name):
    with pytest.raises(AutosparseError, match="empty"):
        score(make("linear"), name, [])


def test_snip_scores_a_reinitialised_copy_only_when_told_to():
    model = make("conv")
    plain, other, again = (score(model, "snip", data(), **o) for o in ({}, {"reinit": 3}, {"reinit": 3}))
    assert all(torch.equal(other[name], again[name]) for name in other)
    assert not any(torch.equal(other[name], plain[name]) for name in other)
    assert all(torch.equal(plain[name], s) for name, s in score(model, "snip", data()).items())
