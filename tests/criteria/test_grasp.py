import pytest
import torch
import torch.nn.functional as F
from torch import nn, tensor
from torch.func import functional_call, grad, hessian

from autosparse.criteria import score
from autosparse.masks import prunable

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch.func's own


def linear_net():
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))


def conv_net():
    return nn.Sequential(nn.Conv2d(1, 2, 2), nn.Softplus(), nn.Flatten(), nn.Linear(2, 3))


class ResidualNet(nn.Module):
    """Has BatchNorm on the batch's own statistics, which running ones would hide from torch.func."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 2, bias=False)
        self.norm = nn.BatchNorm2d(2, track_running_stats=False)
        self.inner = nn.Conv2d(2, 2, 1)
        self.head = nn.Linear(2, 3)

    def forward(self, x):
        x = self.norm(self.stem(x)).tanh()
        return self.head((x + self.inner(x)).relu().mean((2, 3)))


NETS = {"linear": (linear_net, (4,)), "conv": (conv_net, (1, 2, 2))}


@pytest.fixture(params=NETS)
def case(request):
    """A tiny network in float64 and 12 examples for it."""
    build, shape = NETS[request.param]
    torch.manual_seed(0)
    model = build().double()
    return model, (torch.randn(12, *shape, dtype=torch.float64), torch.randint(0, 3, (12,)))


def explicit_reference(model, x, y, temperature=1.0):
    """theta * (H g) with the whole Hessian of the prunable weights written out."""
    weights = prunable(model)
    sizes = [weight.numel() for weight in weights.values()]

    def loss(flat):
        pieces = flat.split(sizes)
        named = {name: piece.view_as(weights[name]) for name, piece in zip(weights, pieces, strict=True)}
        return F.cross_entropy(functional_call(model, named, x) / temperature, y)

    theta = torch.cat([weight.detach().flatten() for weight in weights.values()])
    scores = theta * (hessian(loss)(theta) @ grad(loss)(theta))
    return {n: piece.view_as(weights[n]) for n, piece in zip(weights, scores.split(sizes), strict=True)}


def test_by_hand():
    """L = (w x)^2 / 2 at w = (1, 2), x = (1, 1): g = (3, 3), H = ones, H g = (6, 6), w H g = (6, 12)."""
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = tensor([[1.0, 2.0]])
    batch = tensor([[1.0, 1.0]]), tensor([0.0])
    scores = score(model, "grasp", [batch], lambda output, y: ((output.squeeze(1) - y) ** 2).mean() / 2)
    torch.testing.assert_close(scores, {"weight": tensor([[6.0, 12.0]])})


def test_equals_the_explicit_hessian(case):
    model, data = case
    torch.testing.assert_close(score(model, "grasp", [data]), explicit_reference(model, *data))


def test_equals_the_explicit_hessian_through_batchnorm_and_a_residual_sum():
    torch.manual_seed(0)
    model = ResidualNet().double()
    data = torch.randn(12, 1, 3, 3, dtype=torch.float64), torch.randint(0, 3, (12,))
    torch.testing.assert_close(score(model, "grasp", [data]), explicit_reference(model, *data))


def test_batches_of_different_sizes_equal_the_hessian_of_all_examples(case):
    model, (x, y) = case
    cut = list(zip(x.split([3, 1, 8]), y.split([3, 1, 8]), strict=True))
    torch.testing.assert_close(score(model, "grasp", cut), explicit_reference(model, x, y))


def test_order_of_batches_does_not_matter(case):
    model, (x, y) = case
    cut = list(zip(x.split([3, 1, 8]), y.split([3, 1, 8]), strict=True))
    torch.testing.assert_close(score(model, "grasp", cut[::-1]), score(model, "grasp", cut))


def test_batches_may_be_an_iterator_although_they_are_read_twice(case):
    model, data = case
    torch.testing.assert_close(score(model, "grasp", iter([data])), score(model, "grasp", [data]))


@pytest.mark.parametrize("temperature", [0.5, 200.0])
def test_temperature_divides_the_logits(case, temperature):
    model, data = case
    scores = score(model, "grasp", [data], temperature=temperature)
    torch.testing.assert_close(scores, explicit_reference(model, *data, temperature), rtol=1e-6, atol=0)


def test_scores_are_not_normalised_and_have_either_sign(case):
    model, data = case
    scores = torch.cat([s.flatten() for s in score(model, "grasp", [data]).values()])
    assert scores.min() < 0 < scores.max()
