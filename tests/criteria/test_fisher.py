"""Fisher and Hutchinson diagonals against closed forms, derivatives taken otherwise, and a loop over examples."""

import copy

import pytest
import torch
import torch.nn.functional as F
from attention_nets import make as attention_net
from small_nets import NETS, data, make
from torch import nn

from autosparse.criteria import prune, score
from autosparse.errors import AutosparseError
from autosparse.masks import prunable


def test_fisher_of_softmax_regression_is_its_closed_form():
    """d loss / d w_ki = (p_k - [y = k]) x_i for one example."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4, bias=False)).double()
    [(x, y)] = data(batches=1)
    weight = model[1].weight.detach()
    rest = (x.flatten(1) @ weight.T).softmax(1) - F.one_hot(y, 4)
    expected = torch.einsum("nk,ni->ki", rest**2, x.flatten(1) ** 2) / len(x) * weight**2 / 2
    assert torch.allclose(score(model, "fisher", [(x, y)])["1.weight"], expected)


def test_the_mean_is_over_examples_however_they_are_batched():
    [(x, y)] = data(batches=1)
    cut = [(x[:5], y[:5]), (x[5:], y[5:])]
    whole, parts = score(make("conv"), "fisher", [(x, y)]), score(make("conv"), "fisher", cut)
    assert all(torch.allclose(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("size", [1, 5])
def test_pieces_of_the_first_examples_equal_a_loop_by_hand(net, size):
    model, batches = make(net).eval(), data(batches=2)
    x, y = (torch.cat(parts)[:15] for parts in zip(*batches, strict=True))
    cuts = [slice(i, min(i + size, 12)) for i in range(0, 12, size)] + [slice(i, i + size) for i in range(12, 15, size)]
    squares = []
    for cut in cuts:
        model.zero_grad()
        F.cross_entropy(model(x[cut]), y[cut]).backward()
        squares.append([w.grad.square() for w in prunable(model).values()])
    found = score(make(net), "fisher", batches, examples=15, batch_size=size)
    for (name, weight), *own in zip(prunable(model).items(), *squares, strict=True):
        assert torch.allclose(found[name], weight.detach() ** 2 * torch.stack(own).mean(0) / 2)


def test_hutchinson_is_exact_where_the_hessian_is_diagonal():
    """(w x)^2 / 2 summed over inputs that each see one weight: h_i = x_i^2, whatever the signs."""
    model = nn.Linear(4, 1, bias=False).double()
    model.weight.data = torch.tensor([[1.0, -2.0, 3.0, 0.5]], dtype=torch.float64)
    x, y = torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)), torch.zeros(4)

    def half_squares(output, _):
        return output.square().sum() / 2

    options = {"diagonal": "hutchinson", "batch_size": 4, "probes": 1, "temperature": 1.0}
    scores = score(model, "fisher", [(x, y)], half_squares, **options)
    assert scores["weight"].tolist() == [[0.5 * 1 * 1, 0.5 * 4 * 4, 0.5 * 9 * 9, 0.5 * 0.25 * 16]]


def test_hutchinson_comes_as_near_the_exact_diagonal_as_its_variance_says():
    """z * (H z) has mean H_ii and, with signs, variance sum over j != i of H_ij^2."""
    model, probes = nn.Sequential(nn.Flatten(), nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 4)).double(), 300
    x, y = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 4
    weights = prunable(model)
    flow = torch.autograd.grad(F.cross_entropy(model(x) / 2, y), list(weights.values()), create_graph=True)
    rows = [torch.autograd.grad(g, list(weights.values()), retain_graph=True) for one in flow for g in one.flatten()]
    hessian = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
    options = {"diagonal": "hutchinson", "probes": probes, "batch_size": 6, "temperature": 2.0}
    scores = score(model, "fisher", [(x, y)], **options)
    theta = torch.cat([weight.detach().flatten() for weight in weights.values()])
    found = torch.cat([s.flatten() for s in scores.values()]) * 2 / theta**2
    deviation = ((hessian**2).sum(1) - hessian.diagonal() ** 2).sqrt() / probes**0.5
    assert ((found - hessian.diagonal()).abs() < 5 * deviation).all()


def test_hutchinson_goes_through_attention():
    model = attention_net("attention")
    scores = score(model, "fisher", data(1), diagonal="hutchinson", probes=2, batch_size=12)
    assert all(s.isfinite().all() for s in scores.values())


def test_hutchinson_depends_on_the_seed_and_fisher_does_not():
    def scores(diagonal, seed):
        return score(make("linear"), "fisher", data(1), diagonal=diagonal, seed=seed, batch_size=12)["1.weight"]

    assert torch.equal(scores("hutchinson", 1), scores("hutchinson", 1))
    assert not torch.equal(scores("hutchinson", 1), scores("hutchinson", 2))
    assert torch.equal(scores("fisher", 1), scores("fisher", 2))


def test_a_warm_up_scores_the_network_with_the_statistics_of_the_data_and_sets_them_back():
    model, warmed = make("residual with batchnorm"), make("residual with batchnorm")
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for _ in range(2):
            for x, _ in data():
                warmed.train()(x)
    found, expected = score(model, "fisher", data(), warm_up=2), score(warmed, "fisher", data())
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert not torch.equal(found["stem.weight"], score(model, "fisher", data())["stem.weight"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_warm_up_without_batchnorm_is_refused():
    with pytest.raises(AutosparseError, match="warm_up updates BatchNorm, and this network has none"):
        score(make("conv"), "fisher", data(), warm_up=1)


def test_another_diagonal_is_refused():
    with pytest.raises(AutosparseError, match="'diagonal' of 'fisher' must be 'fisher' or 'hutchinson', got 'k'"):
        prune(make("conv"), "fisher", 0.5, data(), diagonal="k")
