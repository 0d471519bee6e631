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
    averaged = score(make(net), f"{name}-mb", batches, mode="train")
    single = [score(make(net), name, [batch], mode="train") for batch in batches]
    for layer, s in averaged.items():
        assert torch.allclose(s, torch.stack([one[layer] for one in single]).mean(0), rtol=1e-10)


def test_gradients_of_opposite_sign_do_not_cancel():
    model = torch.nn.Linear(1, 1, bias=False)
    x, y = torch.ones(1, 1), torch.ones(1, 1)
    batches = [(x, y), (x, -y)]

    def signed(output, target):
        return (output * target).mean()

    with pytest.raises(AutosparseError, match="every score of criterion 'snip' is 0"):
        score(model, "snip", batches, signed)
    assert score(model, "snip-mb", batches, signed)["weight"].item() == 1


@pytest.mark.parametrize("name", ["snip-mb", "grasp-mb"])
def test_no_batches_are_refused(name):
    with pytest.raises(AutosparseError, match="empty"):
        score(make("linear"), name, [])


@pytest.mark.parametrize("name", ["snip", "snip-mb"])
def test_snip_scores_a_reinitialised_copy_only_when_told_to(name):
    model, anew = make("conv"), {"reinit": True}
    options = ({}, {**anew, "seed": 3}, {**anew, "seed": 3}, {**anew, "seed": 4}, {"seed": 3})
    plain, other, again, third, seeded = (score(model, name, data(), **o) for o in options)
    assert all(torch.equal(other[layer], again[layer]) for layer in other)
    assert not any(torch.equal(other[layer], plain[layer]) for layer in other)
    assert not any(torch.equal(other[layer], third[layer]) for layer in other)
    assert all(torch.equal(plain[layer], s) for layer, s in seeded.items())
