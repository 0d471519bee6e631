import pytest
import torch
import torch.nn.functional as F
from builders import lenet
from small_nets import NETS, make
from small_nets import data as small_data
from torch import nn, tensor
from torch.func import functional_call

from autosparse.criteria import score
from autosparse.data import load_dataset
from autosparse.errors import AutosparseError
from autosparse.masks import prunable


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("net", NETS)
def test_it_is_the_derivative_of_the_loss_by_the_mask(net, mode):
    """Checked by central differences, on every kind of network."""
    network, (x, y), step = make(net).train(mode == "train"), small_data()[0], 1e-6
    expected = {}
    for name, weight in prunable(network).items():
        expected[name] = torch.zeros_like(weight)
        for index in range(weight.numel()):
            original, losses = weight.data.view(-1)[index].item(), []
            for gate in (1 + step, 1 - step):
                weight.data.view(-1)[index] = original * gate
                losses.append(F.cross_entropy(network(x), y).item())
            weight.data.view(-1)[index] = original
            expected[name].view(-1)[index] = abs(losses[0] - losses[1]) / (2 * step)
    total = sum(e.sum() for e in expected.values())
    for name, s in score(network, "snip", [(x, y)], mode=mode).items():
        assert torch.allclose(s, expected[name] / total, atol=1e-7, rtol=1e-4)


def squared(output, y):
    return ((output.squeeze(1) - y) ** 2).mean()


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


@pytest.fixture
def data():
    draws = torch.Generator().manual_seed(1)
    return torch.randn(16, 4, dtype=torch.float64, generator=draws), torch.randint(0, 3, (16,), generator=draws)


def masked_loss(model, masks, x, y):
    """The loss with every weight multiplied by its entry of ``masks``."""
    parameters = {name: p.detach() * masks.get(name, 1.0) for name, p in model.named_parameters()}
    return F.cross_entropy(functional_call(model, parameters, x), y)


def normalised(saliency):
    total = sum(s.sum() for s in saliency.values())
    return {name: s / total for name, s in saliency.items()}


def test_by_hand():
    """L = (w x)^2 at w = (1, 2), x = (1, 1): dL/dw = (6, 6), |w dL/dw| = (6, 12)."""
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = tensor([[1.0, 2.0]])
    scores = score(model, "snip", [(tensor([[1.0, 1.0]]), tensor([0.0]))], squared)
    torch.testing.assert_close(scores, {"weight": tensor([[1 / 3, 2 / 3]])})


def test_equals_the_gradient_with_respect_to_explicit_masks(model, data):
    masks = {n: torch.ones_like(p, requires_grad=True) for n, p in model.named_parameters() if n.endswith("weight")}
    gradients = torch.autograd.grad(masked_loss(model, masks, *data), list(masks.values()))
    expected = normalised({name: g.abs() for name, g in zip(masks, gradients, strict=True)})
    torch.testing.assert_close(score(model, "snip", [data]), expected)


def test_equals_finite_differences_of_explicit_masks(model, data):
    saliency, h = {}, 1e-5
    for name in ("0.weight", "2.weight"):
        ones = torch.ones_like(model.get_parameter(name))
        saliency[name] = torch.zeros_like(ones)
        for i in range(ones.numel()):
            nudge = torch.zeros_like(ones)
            nudge.view(-1)[i] = h
            up, down = (masked_loss(model, {name: ones + sign * nudge}, *data) for sign in (1, -1))
            saliency[name].view(-1)[i] = ((up - down) / (2 * h)).abs()
    torch.testing.assert_close(score(model, "snip", [data]), normalised(saliency), rtol=1e-6, atol=1e-9)


def test_batches_of_different_sizes_equal_one_large_batch(model, data):
    x, y = data
    cut = list(zip(x.split([5, 1, 10]), y.split([5, 1, 10]), strict=True))
    torch.testing.assert_close(score(model, "snip", cut), score(model, "snip", [data]))


def test_order_of_batches_does_not_matter(model, data):
    x, y = data
    cut = list(zip(x.split([5, 1, 10]), y.split([5, 1, 10]), strict=True))
    torch.testing.assert_close(score(model, "snip", cut[::-1]), score(model, "snip", cut))


def test_batches_may_be_an_iterator(model, data):
    torch.testing.assert_close(score(model, "snip", iter([data])), score(model, "snip", [data]))


def test_scores_sum_to_one_over_the_network():
    scores = score(lenet(), "snip", load_dataset("digits").train.batches(500))
    assert sum(s.double().sum().item() for s in scores.values()) == pytest.approx(1, abs=1e-6)


def test_a_loss_that_depends_on_no_weight_is_refused():
    model = nn.Linear(2, 1, bias=False)
    with pytest.raises(AutosparseError, match="every score of criterion 'snip' is 0, so nothing can be ranked"):
        score(model, "snip", [(torch.zeros(3, 2), torch.zeros(3))], squared)


def test_sign_of_weight_and_gradient_do_not_matter():
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = tensor([[-3.0, 2.0]])
    scores = score(model, "snip", [(tensor([[1.0, 1.0]]), tensor([0.0]))], squared)
    torch.testing.assert_close(scores["weight"], tensor([[0.6, 0.4]]))
