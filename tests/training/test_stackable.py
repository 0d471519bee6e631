"""Which networks can train together, and why the others cannot."""

import copy
import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from builders import lenet
from torch import nn

from autosparse.errors import AutosparseError
from autosparse.masks import Masks
from autosparse.training import Execution, Member, Recipe, train, train_together, why_not_together

RECIPE = Recipe(epochs=2, batch_size=64)


def layers(between=nn.ReLU):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), between(), nn.Linear(8, 10))


class Wrapped(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body, self.last = body, nn.Linear(64, 10)

    def forward(self, x):
        return self.body(self.last(x.flatten(1)))


class Noise(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.1, self.training)


class Centre(nn.Module):
    def forward(self, x):
        return x - x.mean(0)


class OfEight(nn.Module):
    """Knows the size of its batch."""

    def forward(self, x):
        return x.view(8, 10)


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 10)
        self.again = self.first

    def forward(self, x):
        return self.again(x.flatten(1))


class Asking(Wrapped):
    """Reads a weight by its name."""

    def forward(self, x):
        return self.body(self.last(x.flatten(1).to(self.last.weight.dtype)))


class Projected(nn.Module):
    """A random projection of its own, which is not trained."""

    def __init__(self):
        super().__init__()
        self.register_buffer("projection", torch.randn(10, 10))

    def forward(self, x):
        return x @ self.projection


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Wrapped(nn.Dropout(0.5)), "dropout"),
        (lambda: Wrapped(Noise()), "draws at random"),
        (lambda: Wrapped(Centre()), "mixes the examples"),
        (lambda: nn.Sequential(Centre(), nn.Flatten(), nn.Linear(64, 10)), "mixes the examples"),
        (lambda: Wrapped(OfEight()), "does not take a folded batch (shape '[8, 10]' is invalid"),
        (lambda: Asking(nn.ReLU()), "does not take a folded batch ('_Linear' object has no attribute 'weight'"),
        (lambda: Wrapped(nn.LayerNorm(10)), "no stacked form of LayerNorm"),
        (lambda: Wrapped(Projected()), "no stacked form of Projected"),
        (lambda: Wrapped(nn.BatchNorm1d(10, momentum=None)), "cumulative"),
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect")), "padding by reflect"),
        (Shared, "share"),
    ],
)
def test_networks_that_cannot_be_stacked_are_told_apart(tiny_digits, make, reason):
    packed = [Member(make()) for _ in range(2)]
    assert reason in why_not_together(packed, tiny_digits)
    with pytest.raises(AutosparseError, match=r"cannot be trained together: .*autosparse\.train"):
        train_together(packed, tiny_digits, RECIPE)


def test_networks_whose_logits_are_no_numbers_may_go_together(tiny_digits):
    packed = [Member(lenet()), Member(lenet())]
    with torch.no_grad():
        packed[0].model.fc1.bias.fill_(torch.nan)
    assert why_not_together(packed, tiny_digits) is None


class Warm(Wrapped):
    def __init__(self, t):
        super().__init__(nn.Identity())
        self.t = t

    def forward(self, x):
        return super().forward(x) / self.scale()

    def scale(self):
        return self.t


class Slotted:
    __slots__ = ("by",)

    def __init__(self, by):
        self.by = by

    def __rtruediv__(self, x):
        return x / self.by


class Wrapper(Slotted):
    """Has an attribute of its own, too, and holds itself."""

    def __init__(self, by):
        super().__init__(1.0)
        self.parts, self.me = by, self


class KnowsItsOwner(nn.Identity):
    """Holds the network that it is a part of where PyTorch does not see it."""

    def owned_by(self, owner):
        self.owner = [owner]
        return owner


def scaled(factor):
    """A network of a class of its own, which closes over the factor."""

    class Scaled(Wrapped):
        def forward(self, x):
            return super().forward(x) * factor

    return Scaled(nn.Identity())


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("make", "first", "other", "what"),
    [
        (Warm, 1.0, 5.0, "'t'"),
        (Warm, torch.ones(10), torch.arange(10.0) + 1, "'t'"),
        (scaled, 1.0, 3.0, "their code"),
        (lambda t: Warm(Slotted(t)), 1.0, 2.0, "'t'"),
        (lambda t: Warm(np.float32(t)), 1.0, 2.0, "'t'"),
        (lambda t: Warm(Wrapper([np.array([t, 1.0])])), 1.0, 2.0, "'t'"),
        (lambda f: Wrapped(Function(f)), torch.relu, torch.tanh, "'body.function'"),
        (lambda a: Wrapped(Function(lambda x: x * a)), 2, 3, "'body.function'"),
        (lambda a: Wrapped(Function(functools.partial(torch.mul, other=a))), 2, 3, "'body.function'"),
        (
            lambda a: Wrapped(Function(Function(None).__class__(torch.relu if a else torch.tanh))),
            0,
            1,
            "function.function",
        ),
    ],
)
def test_members_that_compute_something_else_are_refused_wherever_they_stand(tiny_digits, make, first, other, what):
    alike = [Member(make(first)) for _ in range(3)]
    assert why_not_together(alike, tiny_digits) is None
    assert why_not_together([*alike[:2], Member(make(other))], tiny_digits).startswith("they differ in ")
    assert what in why_not_together([*alike[:2], Member(make(other))], tiny_digits)


def test_a_layer_may_hold_the_network_that_it_is_a_part_of(tiny_digits):
    def make(t):
        network = Warm(t)
        network.body = KnowsItsOwner()
        return network.body.owned_by(network)

    assert why_not_together([Member(make(1.0)), Member(make(1.0))], tiny_digits) is None
    assert "'t'" in why_not_together([Member(make(1.0)), Member(make(2.0))], tiny_digits)


def test_a_network_that_is_given_twice_and_networks_that_share_a_layer_are_refused(tiny_digits):
    one, other = layers(), layers()
    assert "given twice" in why_not_together([Member(one), Member(other), Member(one, seed=1)], tiny_digits)
    other[1] = one[1]
    assert "share tensors" in why_not_together([Member(one), Member(other)], tiny_digits)


def test_a_last_layer_of_zeros_does_not_hide_that_a_forward_mixes_examples(tiny_digits):
    packed = [Member(nn.Sequential(nn.Flatten(), Centre(), nn.Linear(64, 10))) for _ in range(2)]
    for member in packed:
        nn.init.zeros_(member.model[2].weight)
    assert "mixes the examples" in why_not_together(packed, tiny_digits)


def frozen():
    model = layers()
    model[1].weight.requires_grad_(False)
    return model


@pytest.mark.parametrize("make", [lenet, lambda: layers(nn.Tanh), lambda: layers().double()])
def test_different_architectures_are_refused(tiny_digits, make):
    packed = [Member(layers()), Member(layers()), Member(make())]
    assert why_not_together(packed, tiny_digits) == "they differ in their architecture"


def test_networks_of_which_some_are_frozen_in_part_are_refused(tiny_digits):
    packed = [Member(layers()), Member(layers()), Member(frozen())]
    assert why_not_together(packed, tiny_digits) == "they differ in which parameters are trained"
    assert why_not_together([Member(frozen()), Member(frozen())], tiny_digits) is None


@pytest.mark.parametrize("watch", ["register_forward_hook", "register_full_backward_hook"])
def test_a_hook_on_any_member_is_told_of(tiny_digits, watch):
    packed = [Member(layers()), Member(layers())]
    getattr(packed[1].model[1], watch)(lambda *_: None)
    assert why_not_together(packed, tiny_digits) == "a hook watches '1'"


def test_a_hook_on_a_gradient_is_told_of(tiny_digits):
    packed = [Member(layers()), Member(layers())]
    packed[1].model[1].weight.register_hook(lambda gradient: gradient * 0)
    assert why_not_together(packed, tiny_digits) == "a hook watches the gradient of '1.weight'"


@pytest.mark.parametrize("make", [lenet, lambda: nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 10))])
def test_asking_whether_they_can_leaves_the_networks_as_they_were(tiny_digits, make):
    packed = [Member(make()) for _ in range(2)]
    before = [copy.deepcopy(member.model.state_dict()) for member in packed]
    assert why_not_together(packed, tiny_digits) is None
    for member, old in zip(packed, before, strict=True):
        assert all(torch.equal(value, old[name]) for name, value in member.model.state_dict().items())


def test_batchnorm_without_parameters_has_statistics_for_each_member(tiny_digits):
    packed = [
        Member(nn.Sequential(nn.BatchNorm2d(1, affine=False), nn.Flatten(), nn.Linear(64, 10)), seed=seed)
        for seed in range(3)
    ]
    alone = copy.deepcopy(packed)
    train_together(packed, tiny_digits, RECIPE)
    for member, other in zip(packed, alone, strict=True):
        train(other.model, tiny_digits, RECIPE, seed=other.seed)
        for name, value in other.model.state_dict().items():
            torch.testing.assert_close(member.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_members_are_left_in_training_mode_as_alone(tiny_digits):
    packed = [Member(layers().eval()), Member(layers().eval())]
    train_together(packed, tiny_digits, RECIPE)
    assert all(module.training for member in packed for module in member.model.modules())


@pytest.mark.parametrize("masks", [{"1.weight": torch.zeros(8, 1)}, {"other.weight": torch.zeros(8, 64)}])
def test_masks_that_do_not_fit_are_refused_as_alone(tiny_digits, masks):
    packed = [Member(layers(), Masks(masks)), Member(layers())]
    with pytest.raises(AutosparseError, match="masks do not fit the model"):
        train_together(packed, tiny_digits, RECIPE, execution=Execution(compact="off"))
